"""All access to sysfs, below a root that tests replace; and the clock."""

from __future__ import annotations

import errno
import os
import time

# One page is the most that a sysfs attribute can hold.
PAGE = 4096


class Sysfs:
    """Reads and writes attributes; every path is relative to `root`. Each method raises OSError as the kernel does."""

    def __init__(self, root: str = "/sys") -> None:
        """Keep the root with its symlinks resolved."""
        self.root = os.path.realpath(root)

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}"

    def read(self, path: str) -> str:
        """Content of an attribute without the newline; bytes that are no ASCII become U+FFFD."""
        handle = os.open(self._full(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, PAGE).decode("ascii", "replace").strip()
        finally:
            os.close(handle)

    def write(self, path: str, value: int) -> None:
        """Write a number. The ABI takes a word that is no number as 0, so nothing but an int is ever written."""
        data = b"%d\n" % value
        # O_TRUNC does nothing in sysfs, and on a tree of plain files it keeps an old longer value from shining through.
        handle = os.open(self._full(path), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            if os.write(handle, data) != len(data):
                raise OSError(errno.EIO, "short write", path)
        finally:
            os.close(handle)

    def list(self, path: str) -> list[str]:
        """Sorted names in a directory."""
        return sorted(os.listdir(self._full(path)))

    def exists(self, path: str) -> bool:
        """Whether the path leads to something."""
        return os.path.exists(self._full(path))

    def real(self, path: str) -> str:
        """The path with symlinks resolved, relative to the root; ENOENT when it leads nowhere or out of the tree."""
        full = os.path.realpath(self._full(path), strict=True)
        if not full.startswith(self.root + "/"):
            raise OSError(errno.ENOENT, "leads out of the tree", path)
        return full[len(self.root) + 1 :]


class Clock:
    """The two clocks of the daemon, in seconds. Wall-clock time is used nowhere."""

    def monotonic(self) -> float:
        """Stops while the machine sleeps: intervals of the control law."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def boottime(self) -> float:
        """Runs on while the machine sleeps: detects a resume, and stamps the heartbeat."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
