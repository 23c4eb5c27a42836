"""`python3 -m inside.phase fetch|build FOLDER`: one phase of a build, from job.json to state.json in that folder."""

from __future__ import annotations

import sys
from pathlib import Path

from . import fetch, make
from .shell import Shell, StepFailed


def main(argv: list[str]) -> int:
    """Run a phase; 0 when it is done."""
    phase, work = argv[0], Path(argv[1])
    job = make.read_job(work)
    for name in ("tmp", "home"):
        (work / name).mkdir(exist_ok=True)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    shell = Shell(work, phase, make.base_environment(work), boot_id)
    try:
        if phase == "fetch":
            fetch.fetch(shell, job)
            shell.note(status="running", step="fetched", text="")
        else:
            shell.note(status="done", result=make.build(shell, job))
    except (StepFailed, OSError) as exc:
        # What state.json says is read even where no journal is kept.
        shell.say(f"FAILED: {exc}")
        shell.note(status="failed", message=str(exc), tail=list(shell.tail))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
