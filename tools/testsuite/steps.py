"""One step of a stage: a command or a check, its log, its count."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
TAIL_LINES = 60
# What tells why, of the end of a log: pytest's and Ansible's own words. What comes after them is mostly cleaning up.
TELLING = re.compile(
    r"^(E  |FAILED |ERROR |fatal:|failed:|\[ERROR\]|Task failed)|^\S+ +: ok=.*(failed|unreachable)=[1-9]"
)
TELLING_LINES = 25
_STYLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What runs at the same time. Two: what waits for containers leaves a core to what does not.
AT_ONCE = 2
SLOTS = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class Counts:
    """Tests that passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Sum of two counts."""
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        """`N passed, N failed`, and the skipped ones when there are any."""
        tail = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{tail}"


PASSED = Counts(passed=1)
FAILED = Counts(failed=1)
SKIPPED = Counts(skipped=1)


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Sum of any number of counts."""
    return sum(counts, Counts())


def junit_counts(report: Path, exit_code: int) -> Counts:
    """Counts of one pytest run from its JUnit report.

    A run that fails without a failed test (no report, collection stopped, nothing collected) is one failure:
    a suite that did not run must not look green.
    """
    counts = Counts()
    if report.is_file():
        suites = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314 - written by the pytest started here
        for suite in suites:
            number = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
            failed = number["failures"] + number["errors"]
            counts += Counts(max(0, number["tests"] - failed - number["skipped"]), failed, number["skipped"])
    if counts.failed == 0 and (exit_code != 0 or counts.passed + counts.skipped == 0):
        counts += FAILED
    return counts


@dataclass
class Stage:
    """Runs the steps of one stage, prints their progress and keeps their counts."""

    name: str
    logs: Path
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    recap: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def _report(self, step: str, counts: Counts, started: float, log: Path | None, findings: str = "") -> None:
        seconds = time.monotonic() - started
        with self._lock:
            self.counts += counts
            self.seconds += seconds
        word = "FAILED" if counts.failed else "skipped" if counts == SKIPPED else "ok"
        detail = f" ({counts})" if sum((counts.passed, counts.failed, counts.skipped)) > 1 else ""
        print(f"[{self.name}] {step}: {word}{detail} {seconds:.1f} s", flush=True)
        if counts.failed and log and log.is_file():
            lines = _STYLE.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
            found = [line for line in lines if findings and re.search(findings, line)] or lines
            telling = [line for line in found if TELLING.search(line)] or found
            with self._lock:
                self.recap += [f"[{self.name}] {step}:", *(f"    {line}" for line in telling[-TELLING_LINES:])]
            print(*(f"    {line}" for line in found[-TAIL_LINES:]), sep="\n", flush=True)
            print(f"    whole log: {log}", flush=True)

    def log_file(self, step: str) -> Path:
        """Where the output of a step goes."""
        self.logs.mkdir(parents=True, exist_ok=True)
        safe = "".join(char if char.isalnum() or char in ".-" else "_" for char in step)
        return self.logs / f"{self.name}-{safe}.log"

    def command(
        self,
        step: str,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        junit: Path | None = None,
        cwd: Path = ROOT,
        stdin: str | None = None,
        findings: str = "",
    ) -> bool:
        """Run a command as one step; return whether it passed.

        With `junit` its report gives the counts. With `findings`, a failure shows the log's lines that match this
        expression instead of its end.
        """
        log = self.log_file(step)
        if junit:
            junit.unlink(missing_ok=True)
        with log.open("w", encoding="utf-8") as sink:
            print(f"[{self.name}] {step} …", flush=True)
            started = time.monotonic()
            try:
                code = subprocess.run(
                    [str(word) for word in argv],
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={**os.environ, **self.environment, **(environment or {})},
                    input=stdin,
                    stdin=None if stdin is not None else subprocess.DEVNULL,
                    text=True,
                    check=False,
                ).returncode
            except OSError as error:
                sink.write(f"could not start: {error}\n")
                code = 127
        counts = junit_counts(junit, code) if junit else (FAILED if code else PASSED)
        self._report(step, counts, started, log, findings)
        return counts.failed == 0

    def check(self, step: str, function: Callable[[], Sequence[str]]) -> bool:
        """Run a Python check as one step; each string that it returns is a problem."""
        started = time.monotonic()
        log = self.log_file(step)
        problems = list(function())
        log.write_text("\n".join(problems) + "\n", encoding="utf-8")
        self._report(step, FAILED if problems else PASSED, started, log)
        return not problems

    def fail(self, step: str, reason: str) -> None:
        """Count a step that could not even be started."""
        log = self.log_file(step)
        log.write_text(reason + "\n", encoding="utf-8")
        self._report(step, FAILED, time.monotonic(), log)

    def skip(self, step: str, reason: str) -> None:
        """Count a step that this machine cannot run, and say why."""
        self._report(f"{step} ({reason})", SKIPPED, time.monotonic(), None)


def tool(name: str) -> Path:
    """A program of the virtual environment that runs the suite."""
    return Path(sys.prefix) / "bin" / name
