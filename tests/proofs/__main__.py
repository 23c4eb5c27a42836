"""Command line of the proofs: mutate and kill prove, bench measures and writes docs/rocblas.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils")]


def main(argv: list[str] | None = None) -> int:
    """Run one proof; return 1 when it failed."""
    from tests.proofs import material, mutate

    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=__doc__)
    parser.add_argument("--scratch", type=Path, help="where to work; mutate is fastest in memory")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("mutate", help="spoiled packages: none is installed")
    one.add_argument("--count", type=int, default=2000)
    one.add_argument("--first", type=int, default=0, help="number of the first case; it is its seed")
    for verb in (one,):
        verb.add_argument("--synthetic", action="store_true", help="a few kilobytes instead of Debian's real kernels")
    given = parser.parse_args(argv)
    stuff = material.made_up() if given.synthetic else material.real()
    with tempfile.TemporaryDirectory(prefix="mi50-proof-", dir=given.scratch) as folder:
        if given.verb == "mutate":
            return min(1, mutate.prove(stuff, range(given.first, given.first + given.count), Path(folder)))
    return 2


if __name__ == "__main__":
    sys.exit(main())
