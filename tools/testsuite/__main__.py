"""Command line of the test suite: `python -m tools.testsuite [stage…]`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.testsuite import lint, nodes, sanity, unit
from tools.testsuite.steps import ROOT, SLOTS, Stage, sum_counts

STAGES: dict[str, Callable[[Stage], None]] = {
    "lint": lint.run,
    "unit": unit.run,
    "sanity": sanity.run,
    "molecule": nodes.run_molecule,
    "vm": nodes.run_vm,
    "process": nodes.run_process,
    "lab": nodes.run_lab,
    "long": nodes.run_long,
}
# Only when it is named.
ON_REQUEST = ("long",)
# Two lanes side by side. The first takes one place from its beginning to its end; scenarios take what is left (SLOTS).
SCENARIOS = "molecule"


def tool_environment() -> dict[str, str]:
    """Variables that every tool needs: the environment's programs first, UTF-8, this checkout's configuration."""
    return {
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # ansible refuses to start without a UTF-8 locale, and C.UTF-8 is the one that glibc always has.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def summary(stages: list[Stage]) -> str:
    """Table of the stages; its last line is the sum of the counts."""
    rows = [("stage", "passed", "failed", "skipped", "seconds")]
    for stage in stages:
        counts = stage.counts
        rows.append((stage.name, str(counts.passed), str(counts.failed), str(counts.skipped), f"{stage.seconds:.0f}"))
    lines = [f"{row[0]:<10}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]
    return "\n".join(["", *lines, "", str(sum_counts(stage.counts for stage in stages))])


def run_stage(name: str, logs: Path) -> Stage:
    """Run one stage to its end, whatever happens in it."""
    # A folder for each stage: another stage may be running from this checkout, and keeps its logs.
    shutil.rmtree(logs / name, ignore_errors=True)
    stage = Stage(name, logs / name, environment=tool_environment())
    try:
        STAGES[name](stage)
    except Exception as error:  # the others still run, and this one counts
        stage.fail("stage", f"{type(error).__name__}: {error}")
    return stage


def _run_lane(names: list[str], logs: Path) -> list[Stage]:
    if SCENARIOS in names or not names:
        return [run_stage(name, logs) for name in names]
    with SLOTS:
        return [run_stage(name, logs) for name in names]


def run_stages(names: list[str], logs: Path) -> int:
    """Run the stages, in their fixed order within each lane, print the counts, and return the exit code."""
    chosen = [name for name in STAGES if name in names]
    lanes = [[name for name in chosen if name != SCENARIOS], [name for name in chosen if name == SCENARIOS]]
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = pool.map(lambda lane: _run_lane(lane, logs), lanes)
        by_name = {stage.name: stage for lane in done for stage in lane}
    stages = [by_name[name] for name in STAGES if name in by_name]
    failed = sum(stage.counts.failed for stage in stages)
    ran = sum(stage.counts.passed for stage in stages)
    if not failed:
        for stage in stages:
            shutil.rmtree(stage.logs, ignore_errors=True)
    # Again, where it is looked for: of a long output often only the end is kept.
    print(*(line for stage in stages for line in stage.recap), sep="\n")
    print(summary(stages), flush=True)
    return 1 if failed or not ran else 0


def main(argv: list[str] | None = None) -> int:
    """Parse the stages and run them."""
    parser = argparse.ArgumentParser(prog="script/test", description=__doc__)
    parser.add_argument("stage", nargs="*", help=f"any of {', '.join(STAGES)}; all but {ON_REQUEST[0]} without one")
    names = parser.parse_args(argv).stage
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        parser.error(f"unknown stage: {', '.join(unknown)} (there are {', '.join(STAGES)})")
    return run_stages(names or [name for name in STAGES if name not in ON_REQUEST], ROOT / "reports" / "test-logs")


if __name__ == "__main__":
    sys.exit(main())
