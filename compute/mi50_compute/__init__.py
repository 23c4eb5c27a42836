"""Compute proof: matrix products, reductions, convolutions and an all-reduce on each GPU, compared with the CPU.

Runs inside the virtual environment whose torch it proves: `python -m mi50_compute`. Needs torch and nothing else.
"""

from __future__ import annotations

__version__ = "1"
