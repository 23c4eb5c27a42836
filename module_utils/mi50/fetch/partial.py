"""A download under way: its bytes so far, and the validator that proves a later piece belongs to the same file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import FetchError, mask

_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Left free for everybody else on that file system.
RESERVE_BYTES = 16 << 20


class Partial:
    """The temporary file beside the target; one process at a time writes it. `size`, `received`: bytes."""

    def __init__(self, target: Path) -> None:
        """Open or make it. Raises FetchError when that is not possible or another run holds it."""
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._note = target.with_name(f".{target.name}.part.json")
        self._gone = False
        busy = f"{target}: another run is fetching it at this moment. Wait for it and run again."
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise FetchError(busy) from None
        except OSError as error:
            raise unwritable(target, error) from None
        if not self._ours():
            # Put in the target's place between our open and our lock: writing would change the finished file.
            os.close(self._fd)
            raise FetchError(busy)
        self.size = 0
        self.received = 0
        self.digest = hashlib.sha256()

    def resume(self, url: str, sha256: str = "") -> str | None:
        """Take up what an earlier attempt left of `url`; return its validator, None when there is nothing to use.

        Bytes of a file with the same known digest go on from any address and without a validator (empty): in the end
        the digest decides.
        """
        try:
            note: dict[str, Any] = json.loads(self._note.read_text(encoding="utf-8"))
            validator = str(note["validator"]) if note["url"] == url else ""
            usable = bool(validator or (sha256 and note.get("sha256") == sha256))
        except (OSError, ValueError, KeyError, TypeError):
            validator, usable = "", False
        if not usable:
            self.restart()
            return None
        if not self.size:  # else it is all known from this run
            self._digest()
        return validator if self.size else None

    def _digest(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size, self.digest = 0, hashlib.sha256()
        while True:
            piece = os.read(self._fd, _CHUNK)
            if not piece:
                return
            self.digest.update(piece)
            self.size += len(piece)

    def restart(self) -> None:
        """Throw away what is there."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size, self.digest = 0, hashlib.sha256()
        self._forget_note()

    def note(self, url: str, validator: str, sha256: str = "") -> None:
        """Remember what the bytes belong to; without a validator or a known digest they cannot be resumed."""
        self._forget_note()
        if validator or sha256:
            text = json.dumps({"url": url, "validator": validator, "sha256": sha256})
            try:
                self._note.write_text(text, encoding="utf-8")
            except OSError as error:
                raise unwritable(self.target, error) from None

    def reserve(self, announced: int, url: str) -> None:
        """Raise FetchError when `announced` more bytes do not fit."""
        found = os.fstatvfs(self._fd)
        free = found.f_bavail * found.f_frsize
        if announced + RESERVE_BYTES > free:
            raise FetchError(
                f"{self.target.parent}: not enough space for {mask(url)}: {_mb(announced)} are needed, {_mb(free)} are "
                "free. Free some space there, or name another folder."
            )

    def write(self, piece: bytes) -> None:
        """Add bytes. Raises FetchError; a full disk is not left full."""
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            if error.errno in _FULL:
                self.discard()
            raise unwritable(self.target, error) from None
        self.digest.update(piece)
        self.size += len(piece)
        self.received += len(piece)

    def commit(self, mode: int) -> int:
        """Flush, and put it in the target's place; return its mtime in ns."""
        try:
            os.fchmod(self._fd, mode)
            os.fsync(self._fd)
            self.path.replace(self.target)
            self._gone = True
            folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise unwritable(self.target, error) from None
        self._forget_note()
        return os.fstat(self._fd).st_mtime_ns

    def discard(self) -> None:
        """Remove every trace."""
        self._forget_note()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._gone = True

    def close(self) -> None:
        """Let go of it; bytes that cannot be resumed do not stay."""
        with contextlib.suppress(OSError):
            if not self._gone and not (self.size and self._note.exists()):
                self.discard()
        os.close(self._fd)

    def _ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.lstat())
        except OSError:
            return False

    def _forget_note(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._note.unlink()


def unwritable(path: Path, error: OSError) -> FetchError:
    """A clear error for a target that cannot be written."""
    way_out = {
        errno.ENOSPC: "The disk is full: free some space there, or name another folder.",
        errno.EDQUOT: "The quota is used up: free some space there, or name another folder.",
        errno.EROFS: "It is mounted read-only: remount it, or name another folder.",
        errno.EACCES: "Run as the user that owns it (become).",
        errno.EPERM: "Run as the user that owns it (become).",
        errno.ENOTDIR: "A file lies where the folder should be: move it away, or name another folder.",
        errno.ELOOP: "A link lies in its place: remove it.",
    }.get(error.errno or 0, "")
    return FetchError(f"{path}: cannot be written: {error.strerror}. {way_out}".rstrip())


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
