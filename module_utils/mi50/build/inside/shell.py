"""Runs the commands of a build: each line goes to the journal and the log, what it says of progress into a file."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from . import progress

_TAIL = 200
_WRITE_EVERY = 0.5  # seconds between two writes of the progress file
_SHORT_OF_MEMORY = (
    "killed signal terminated program",
    "fatal error: killed",
    "virtual memory exhausted",
    "std::bad_alloc",
    "out of memory",
)


class StepFailed(Exception):
    """A command or a check failed; the text says which and how."""


class Shell:
    """The state of one phase of a build: its log, its progress, its environment."""

    def __init__(self, work: Path, phase: str, environment: Mapping[str, str], boot_id: str) -> None:
        """Open the log; nothing is run."""
        self.work = work
        self.environment = dict(environment)
        self.tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self._log = (work / "log").open("a", encoding="utf-8", errors="replace")
        self._wrote = 0.0
        started = _started(work, boot_id) if phase != "fetch" else None
        self._state: dict[str, Any] = {
            "status": "running",
            "phase": phase,
            "step": phase,
            "started": started or time.time(),
            "boot_id": boot_id,
            "pid": os.getpid(),
        }
        self.note()

    def step(self, name: str, text: str = "") -> None:
        """Begin a step: the count starts anew."""
        self._state.update(step=name, done=0, total=0, text=text)
        self.say(f"== {name}{': ' + text if text else ''}")
        self.note()

    def say(self, text: str) -> None:
        """One line into the journal and the log."""
        self.tail.append(text)
        for stream in (sys.stdout, self._log):
            stream.write(text + "\n")
            stream.flush()

    def note(self, **changes: object) -> None:
        """Change the state and write it, in one step."""
        self._state.update(changes, updated=time.time())
        scratch = self.work / "state.json.new"
        scratch.write_text(json.dumps(self._state) + "\n", encoding="utf-8")
        scratch.replace(self.work / "state.json")
        self._wrote = time.monotonic()

    def run(self, argv: Sequence[str], cwd: Path | None = None, **environment: str) -> None:
        """Run a command to its end. Raises StepFailed."""
        self.say("$ " + " ".join(argv))
        killed = _kills()
        try:
            # pylint: disable-next=ansible-bad-function
            child = subprocess.Popen(
                list(argv),
                cwd=cwd or self.work,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as exc:
            self.say(f"{argv[0]}: {exc.strerror}")
            raise StepFailed(f"{argv[0]}: {exc.strerror}") from exc
        with child:
            for line in _lines(child.stdout) if child.stdout else ():
                self._heard(line)
        if child.returncode:
            if _kills() > killed:
                self.say("the kernel killed a process of this build: out of memory")
            raise StepFailed(f"{Path(argv[0]).name} ended with {_code(child.returncode)}")

    def short_of_memory(self) -> bool:
        """Whether the last lines say that a compiler was killed for want of memory."""
        text = "\n".join(self.tail).lower()
        return any(sign in text for sign in _SHORT_OF_MEMORY)

    def _heard(self, line: str) -> None:
        point = progress.read(line)
        if point is not None:
            self._state.update(done=point.done, total=point.total, text=point.text)
            if time.monotonic() - self._wrote > _WRITE_EVERY:
                self.note()
        # Git and pip redraw a percentage many times a second; the last of them is enough for a log.
        if point is None or point.total != 100 or point.done == 100:
            self.say(line)


def _kills() -> int:
    """How many processes of this unit the kernel has killed for want of memory; 0 where it does not say."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        groups = {fields[1]: fields[2] for fields in (line.split(":", 2) for line in lines)}
        root = Path("/sys/fs/cgroup")
        found = (
            (root / "memory" / groups["memory"].lstrip("/") / "memory.oom_control")
            if "memory" in groups
            else (root / groups[""].lstrip("/") / "memory.events")
        )
        counts = dict(line.split() for line in found.read_text(encoding="ascii").splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, KeyError, ValueError):
        return 0


def _started(work: Path, boot_id: str) -> float | None:
    """When the phase before this one began: people count from there."""
    try:
        before = json.loads((work / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return float(before["started"]) if before.get("boot_id") == boot_id and before.get("started") else None


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come; a carriage return ends one as well."""
    rest = b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        *whole, rest = (rest + chunk.replace(b"\r", b"\n")).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.decode("utf-8", "replace").rstrip()
    if rest.strip():
        yield rest.decode("utf-8", "replace").rstrip()


def _code(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
