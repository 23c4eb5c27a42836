"""The staging directory: files land here complete, flushed and hashed before anything in the library moves."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
from pathlib import Path

from .errors import RocblasError

FILE_MODE = 0o644


class Stage:
    """Writes files into a directory made for it; a worker flushes them while the next ones are decompressed."""

    def __init__(self, path: Path, uid: int = -1, gid: int = -1) -> None:
        """Make `path` anew (leftovers of a killed run are removed); files will belong to uid/gid (-1: leave)."""
        self.path = path
        self._owner = (uid, gid)
        self._jobs: queue.Queue[int | None] = queue.Queue(maxsize=16)
        self._error: OSError | None = None
        discard(path)
        # Before we disturb it: what `absent` gives the directory back.
        self.parent_mtime_ns = path.parent.stat().st_mtime_ns
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise unwritable(path.parent, error) from None
        self._thread = threading.Thread(target=self._flush, daemon=True)
        self._thread.start()
        self._open = True

    def create(self, name: str) -> int:
        """Open a new file for writing; never follows a link, never overwrites."""
        try:
            return os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def write(self, fd: int, piece: memoryview) -> None:
        """Write all of `piece`; RocblasError when the disk is full."""
        try:
            while piece:
                piece = piece[os.write(fd, piece) :]
        except OSError as error:
            raise unwritable(self.path, error) from None

    def done(self, fd: int, mtime: int) -> None:
        """Take a written file over for flushing."""
        os.fchmod(fd, FILE_MODE)
        if os.geteuid() == 0:
            os.fchown(fd, *self._owner)
        os.utime(fd, (mtime, mtime))
        self._jobs.put(fd)

    def finish(self) -> None:
        """Return when every file and the directory are on the disk."""
        self._stop()
        if self._error is not None:
            raise unwritable(self.path, self._error)
        sync_directory(self.path)

    def close(self) -> None:
        """Stop the worker and remove the directory."""
        self._stop()
        discard(self.path)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._jobs.put(None)
            self._thread.join()

    def _flush(self) -> None:
        while True:
            fd = self._jobs.get()
            if fd is None:
                return
            try:
                os.fsync(fd)
            except OSError as error:
                self._error = error
            finally:
                os.close(fd)


def unwritable(path: Path, error: OSError) -> RocblasError:
    """A clear error for a destination that cannot be written."""
    way_out = {
        errno.ENOSPC: "Free some space there (about 300 MB) and run again.",
        errno.EDQUOT: "The quota is used up; free some space and run again.",
        errno.EROFS: "It is mounted read-only; remount it, or name another dest.",
        errno.EACCES: "Run as the user that owns it (become).",
        errno.EPERM: "Run as the user that owns it (become).",
    }.get(error.errno or 0, "")
    return RocblasError(f"{path}: cannot be written: {error.strerror}. Nothing was changed. {way_out}".rstrip())


def discard(path: Path) -> None:
    """Remove a directory, or a link or file in its place, without following it."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def sync_directory(path: Path) -> None:
    """Flush the names in a directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
