"""`python -m mi50_compute`: refuses, with the way out, a Python that has no torch; else the command line of cli.py."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("torch") is None:
        print(f"{sys.executable} has no torch: run this with the Python of the environment to prove", file=sys.stderr)
        sys.exit(2)
    sys.exit(import_module("mi50_compute.cli").main())
