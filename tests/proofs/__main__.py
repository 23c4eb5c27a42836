"""Command line of the proofs: cycle, mutate and kill prove, bench measures; see docs/rocblas.md, which they write."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils")]


def run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Do what the verb says in `folder`."""
    from tests.proofs import bench, cycle, kill, material, mutate

    if given.verb == "bench":
        return bench.measure(material.packages(), given.rounds, folder)
    if given.verb == "cycle":
        return cycle.prove(material.packages(), folder)
    stuff = material.made_up() if given.synthetic else material.real()
    if not (given.whole or given.synthetic):
        stuff = material.part_of(stuff)
    if given.verb == "mutate":
        return mutate.prove(stuff, range(given.first, given.first + given.count), folder)
    return kill.prove(stuff, given.count, given.first, folder)


def main(argv: list[str] | None = None) -> int:
    """Run one verb, print what it found, and return 1 when a proof failed."""
    from tests.proofs import results

    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description=__doc__)
    parser.add_argument("--scratch", type=Path, help="where to work; mutate is fastest in memory")
    parser.add_argument("--record", action="store_true", help="keep the result in docs/rocblas.json and .md")
    verbs = parser.add_subparsers(dest="verb", required=True)
    mutate = verbs.add_parser("mutate", help="spoiled packages: none is installed")
    mutate.add_argument("--count", type=int, default=2000)
    mutate.add_argument("--first", type=int, default=0, help="number of the first case; it is its seed")
    kill = verbs.add_parser("kill", help="SIGKILL at random moments: never a mixed set, always a way on and back")
    kill.add_argument("--count", type=int, default=200)
    kill.add_argument("--first", type=int, default=0, help="number of the first trial; it is its seed")
    for verb in (mutate, kill):
        verb.add_argument("--whole", action="store_true", help="all 140 files, 142 MB, instead of 20 of 1 MB")
        verb.add_argument("--synthetic", action="store_true", help="a few kilobytes instead of Debian's real kernels")
    verbs.add_parser("cycle", help="install, look again, roll back, install again, on the whole packages")
    bench = verbs.add_parser("bench", help="time and memory beside GNU tar and the manual way")
    bench.add_argument("--rounds", type=int, default=5)
    verbs.add_parser("page", help="write docs/rocblas.md anew from the numbers that are kept")
    given = parser.parse_args(argv)
    if given.verb == "page":
        results.PAGE.write_text(results.page(results.load()))
        return 0
    with tempfile.TemporaryDirectory(prefix="mi50-proof-", dir=given.scratch) as folder:
        found = run(given, Path(folder))
    print(json.dumps(found, indent=1))
    if given.record:
        results.record(given.verb + (" whole" if vars(given).get("whole") else ""), found)
    return 1 if found.get("FAILED") or found.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
