"""The one place that starts other programs where no AnsibleModule is at hand.

Ansible's `run_command` reads all of a program's output before it returns, so that a package of 4 GB could not be
streamed through a decompressor with it; and this logic is called without Ansible as well. No shell is involved.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

DISCARD = subprocess.DEVNULL
PIPE = subprocess.PIPE
Process = subprocess.Popen


class Finished(NamedTuple):
    """What a program said; `code` is its exit code."""

    code: int
    output: bytes
    errors: bytes


def start(
    argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, environment: Mapping[str, str] | None = None
) -> Process[bytes]:
    """Start a program between two pipe ends. Raises OSError when it cannot be started."""
    # pylint: disable-next=ansible-bad-function
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=environment)


def run(
    argv: Sequence[str],
    data: bytes = b"",
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Give a program `data` and wait for it, `timeout` seconds at most.

    Raises OSError when it cannot be started, subprocess.TimeoutExpired when it takes too long.
    """
    # pylint: disable-next=ansible-bad-function
    done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=timeout, env=environment)
    return Finished(done.returncode, done.stdout, done.stderr)
