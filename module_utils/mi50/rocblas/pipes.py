"""Bytes through pipes: an external decompressor, and a reader that drops what nobody wants without copying it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from .. import process
from .errors import SourceRejected

CHUNK = 1024 * 1024
PIPE_BYTES = 1024 * 1024


def widen(fd: int) -> None:
    """Ask for a 1 MiB pipe: fewer switches between the two sides. Not worth an error when refused."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_BYTES)


def write_all(fd: int, view: memoryview) -> bool:
    """Write everything; False when the reader has gone: it has its own way to say why."""
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        return False
    return True


class PipeSink:
    """The writing end of a pipe; who reads gets `read_end`."""

    def __init__(self) -> None:
        """Make the pipe."""
        self.read_end, self._write_end = os.pipe()
        widen(self._write_end)

    def put(self, piece: bytes) -> bool:
        """Write the piece; False when the reader has gone."""
        return write_all(self._write_end, memoryview(piece))

    def end(self) -> None:
        """Close the writing end."""
        os.close(self._write_end)


class PipeReader:
    """Reads a descriptor in pieces; one buffer of 1 MiB."""

    def __init__(self, fd: int, label: str) -> None:
        """Read from `fd`, which stays the caller's; `label` names the archive in errors."""
        self._fd, self._label = fd, label
        self._view = memoryview(bytearray(CHUNK))
        self._null = os.open(os.devnull, os.O_WRONLY)
        # Python 3.10+; moves bytes to /dev/null without copying them, from a pipe alone.
        self._splice = getattr(os, "splice", None) if stat.S_ISFIFO(os.fstat(fd).st_mode) else None

    def piece(self, limit: int) -> memoryview:
        """At most `limit` bytes, valid until the next call; empty at the end."""
        return self._view[: os.readv(self._fd, [self._view[: min(limit, CHUNK)]])]

    def skip(self, limit: int) -> int:
        """Drop at most `limit` bytes and return how many; 0 at the end."""
        step = min(limit, CHUNK)
        if self._splice is None:
            return len(self.piece(step))
        done: int = self._splice(self._fd, self._null, step)
        return done

    def close(self) -> None:
        """Release what the reader opened (not the descriptor)."""
        os.close(self._null)


class Decompressor:
    """An external decompressor; read what it makes from `fd`."""

    def __init__(self, argv: list[str], label: str, stdin: int) -> None:
        """Start it on the descriptor `stdin`, which it takes over; `label` names the archive in errors."""
        self._label, self._name = label, Path(argv[0]).name
        self._errors: str | None = None
        self.fd, write_end = os.pipe()
        widen(write_end)
        self._process = process.start(argv, stdin=stdin, stdout=write_end, stderr=process.PIPE)
        os.close(write_end)
        os.close(stdin)

    def finish(self) -> None:
        """SourceRejected when it met a damaged stream; may be called again."""
        if self._errors is None:
            self._errors = self._process.communicate()[1].decode("utf-8", "replace")
        if self._process.returncode:
            last = "".join(self._errors.strip().splitlines()[-1:])
            raise SourceRejected(f"{self._label}: {self._name} says it is damaged: {last}. Fetch it again.")

    def close(self) -> None:
        """Stop it and release the pipe; safe after finish()."""
        os.close(self.fd)
        if self._process.poll() is None:
            self._process.kill()
        if self._errors is None:
            self._process.communicate()
