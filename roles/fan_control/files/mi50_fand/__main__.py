"""`python3 -m mi50_fand`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
