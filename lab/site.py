"""Run site.yml on the lab's nodes and read what Ansible says about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lab.console import say
from lab.mirror import server
from lab.settings import Settings

RECAP = re.compile(r"^(\S+)\s+: (ok=\d+.*)$")
FAILURE = re.compile(r"(fatal|failed): \[|\[ERROR\]|Task failed")


@dataclass
class Result:
    """One ansible-playbook run."""

    returncode: int
    output: str
    seconds: float
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """What a reader of a failed run needs: the failures themselves, then the end of the output."""
        said = [line[:1500] for line in self.output.splitlines() if FAILURE.match(line)]
        return "\n".join([*said[:20], "…", self.output[-2500:]])


def parse_recap(output: str) -> dict[str, dict[str, int]]:
    """The PLAY RECAP as numbers by host."""
    found = {}
    for line in output.rpartition("PLAY RECAP")[2].splitlines():
        match = RECAP.match(line)
        if match:
            found[match.group(1)] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match.group(2))}
    return found


def run(
    settings: Settings,
    arguments: list[str],
    *,
    playbook: str = "site.yml",
    quiet: bool = False,
    environment: dict[str, str] | None = None,
) -> Result:
    """ansible-playbook over SSH with the lab's inventory; output is shown as it comes unless quiet."""
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    env = {
        **os.environ,
        # Ansible refuses to start under a locale that is not UTF-8.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(settings.root / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        **(environment or {}),
    }
    command = [ansible, "-i", str(settings.inventory), playbook, *arguments]
    mark = server.mark(settings)
    begin = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=settings.root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        for line in child.stdout or ():
            lines.append(line)
            if not quiet:
                print(line, end="", flush=True)
    output = "".join(lines)
    result = Result(child.returncode, output, time.monotonic() - begin, parse_recap(output))
    if not quiet:
        used = server.traffic(settings, mark)
        say(f"{playbook}: exit {result.returncode} after {result.seconds:.1f} s")
        say(f"the mirror gave {used.sent / 1e6:.1f} MB in {used.requests} requests")
    return result


def show_reports(settings: Settings) -> int:
    """Print the reports in the checkout, newest last; of a run of the benchmark its report, not its raw data."""
    folder = settings.root / "reports"
    found = [path for path in folder.rglob("*") if path.is_file() and not _is_raw(path.relative_to(folder).parts)]
    files = sorted(found, key=lambda path: path.stat().st_mtime)
    if not files:
        print(f"no report yet in {folder}; run script/lab site")
        return 1
    print(f"reports in {folder}:")
    for path in files:
        print(f"  {path.relative_to(folder)}")
    return 0


def _is_raw(parts: tuple[str, ...]) -> bool:
    """Whether a file of `reports/` is a run's raw data: benchmark/RUN/HOST/..."""
    return len(parts) > 3 and parts[0] == "benchmark" and parts[2] != "report"
