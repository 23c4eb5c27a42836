"""mi50-fand: keeps passively cooled MI50 cards cool from a motherboard header; standard library only, Python 3.10+."""

from __future__ import annotations

VERSION = "1.0.0"
