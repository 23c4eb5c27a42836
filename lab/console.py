"""Progress with elapsed times, and subprocesses that are never silent for long."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lab.settings import LabError

START = time.monotonic()
HEARTBEAT = 15.0
TAIL_LINES = 25


def say(text: str) -> None:
    """One progress line with the seconds since the command began; on stderr, so that stdout stays data."""
    print(f"[lab {time.monotonic() - START:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a piece of work, say every quarter of a minute that it goes on, and how long it took."""
    say(f"{title} ...")
    begin = time.monotonic()
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT):
            say(f"{title} ... {time.monotonic() - begin:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        say(f"{title}: FAILED after {time.monotonic() - begin:.1f} s")
        raise
    finally:
        done.set()
        thread.join()
    say(f"{title}: done in {time.monotonic() - begin:.1f} s")


def as_root(argv: Sequence[str]) -> list[str]:
    """The command with sudo in front where this process is not root."""
    return list(argv) if os.geteuid() == 0 else ["sudo", *argv]


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    stdin: IO[Any] | None = None,
    data: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep its output; raise LabError with the last lines of it when it fails."""
    kind: dict[str, Any] = {"input": data} if data is not None else {"stdin": stdin or subprocess.DEVNULL}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        try:
            done = subprocess.run(
                list(argv),
                check=False,
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                **kind,
            )
        except FileNotFoundError as exc:
            raise LabError(f"{argv[0]} is not installed") from exc
        errors.seek(0)
        done.stderr = errors.read()
    if check and done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise LabError(f"{' '.join(map(str, argv[:6]))} failed ({done.returncode}):\n{tail}")
    return done
