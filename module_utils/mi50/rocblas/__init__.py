"""Put gfx906 kernels into a rocBLAS library directory, prove them, take them out again."""

from __future__ import annotations
