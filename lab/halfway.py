"""Stop dpkg on a lab node in the middle of a transaction of apt, at a moment that proves something.

with Halfway("node1", "rocm-core") as halfway:
    ...                     start what makes apt work
    found = halfway.wait()  some packages are done, others are not, and dpkg stands still
    ...                     kill whoever deserves it, while nothing moves
    halfway.go_on()         or halfway.power_off()
"""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType

from lab import engine, halfway_node, nodes
from lab.settings import LabError

# The module that asked for it, apt and dpkg; what /run held is gone as well, the claim of the run among it.
_OFF = """
asked=$(ps -o ppid= -p "$(pgrep -d , -x apt-get)")
kill -9 $asked
pkill -9 -x apt-get
pkill -9 -x dpkg
rm -r /run/mi50-aipc
"""


class Halfway:
    """Waits on a node for the middle of the next transaction that is about a package, and freezes dpkg there."""

    def __init__(self, node: str, about: str) -> None:
        """Neither looks nor needs the node yet."""
        self.container, self.about = nodes.container(node), about
        self._pool = ThreadPoolExecutor(1)
        self._looks: Future[CompletedProcess[str]]

    def __enter__(self) -> Halfway:
        """Begin to look, until something is found or nobody listens any more."""
        reader, self._listens = os.pipe()
        script = Path(halfway_node.__file__).read_text(encoding="utf-8")
        words = ("exec", "-i", self.container, "python3", "-c", script, self.about)

        def look() -> CompletedProcess[str]:
            with os.fdopen(reader) as stream:
                return engine.docker(*words, check=False, stdin=stream)

        self._looks = self._pool.submit(look)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop looking."""
        os.close(self._listens)
        self._pool.shutdown()

    @property
    def ready(self) -> bool:
        """Whether there is something to say."""
        return self._looks.done()

    def wait(self) -> halfway_node.Found:
        """Return how far it was when dpkg was stopped. Raises LabError when it never was."""
        done = self._looks.result()
        if done.returncode:
            raise LabError(f"{self.container}: {done.stdout.strip() or f'looking ended with {done.returncode}'}")
        found: halfway_node.Found = json.loads(done.stdout)
        return found

    def go_on(self) -> None:
        """Only who asked is gone: dpkg works on."""
        engine.docker("exec", self.container, "pkill", "-CONT", "-x", "dpkg")

    def power_off(self) -> None:
        """Everything that worked is gone."""
        engine.docker("exec", self.container, "sh", "-c", _OFF)
