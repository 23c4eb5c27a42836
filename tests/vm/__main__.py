"""`python -m tests.vm compare`: measure the fan daemon beside its peers on real drivers and write docs/fan-vm.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.settings import LabError
from tests.vm.compare import compare

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Parse the arguments; errors of the lab are one message and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("verb", choices=["compare"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "fan-vm.md", help="page to write")
    options = parser.parse_args()
    try:
        compare(options.output)
    except LabError as exc:
        print(f"tests.vm: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
