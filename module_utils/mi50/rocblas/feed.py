"""One read of the source feeds the digest, the signature check and the decompressor: all three see the same bytes.

A source that is replaced or rewritten while it is read can therefore never pass the check with one content and be
installed with another.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Sequence
from typing import IO, Any, Callable

from .. import process
from .errors import RocblasError, SourceRejected

CHUNK = 1024 * 1024
Sink = Callable[[memoryview], None]
MAGIC = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gzip",
}
# xz: threads matter (18 s -> 9 s for Debian's package); zstd refuses windows over 128 MiB by itself.
COMMANDS = {"zstd": ["-dcq"], "xz": ["-dcq", "-T0"], "gzip": ["-dcq"]}
PACKAGES = {"zstd": "zstd", "xz": "xz-utils", "gzip": "gzip"}
PIPE_BYTES = 1024 * 1024


def compression(head: bytes) -> str | None:
    """Name the compression from the first bytes; None for none known."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def command(method: str, label: str) -> list[str]:
    """Command line of the decompressor; RocblasError naming the package when it is missing."""
    tool = shutil.which(method)
    if tool is None:
        raise RocblasError(f"{label}: {method} is needed to read it; install the package {PACKAGES[method]}.")
    return [tool, *COMMANDS[method]]


def widen(fd: int) -> None:
    """Ask for a 1 MiB pipe: fewer switches between the decompressor and us. Not worth an error when refused."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_BYTES)


class Feed:
    """Copies a section of a file to several consumers in a thread, hashing the whole file on the way."""

    def __init__(self, source: IO[bytes], taken: bytes, start: int, length: int, followers: Sequence[int]) -> None:
        """`taken` was already read from `source`; body is bytes start..start+length; `followers` get the whole file."""
        self._source = source
        self._start, self._end = start, start + length
        self._followers = [fd for fd in followers if fd >= 0]
        self._digest = hashlib.sha256()
        self._head = taken
        self.total = 0
        self.error: OSError | None = None
        self.read_end, self._write_end = os.pipe()
        widen(self._write_end)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def finish(self) -> str:
        """Wait for the end of the file and return its sha256; RocblasError on a read error."""
        self._thread.join()
        if self.error is not None:
            raise RocblasError(f"{self._source.name}: cannot be read: {self.error.strerror}.")
        return self._digest.hexdigest()

    def _run(self) -> None:
        try:
            piece = self._head or self._source.read(CHUNK)
            while piece:
                self._digest.update(piece)
                for fd in list(self._followers):
                    self._give(fd, piece)
                self._body(piece)
                self.total += len(piece)
                piece = self._source.read(CHUNK)
        except OSError as error:
            self.error = error
        except ValueError:
            # The file was closed under this thread: the reader refused the source and said why.
            self.error = OSError(errno.ECANCELED, "given up half-way")
        finally:
            for fd in [*self._followers, self._write_end]:
                if fd >= 0:
                    os.close(fd)

    def _body(self, piece: bytes) -> None:
        first = max(self._start - self.total, 0)
        last = min(self._end - self.total, len(piece))
        if self._write_end >= 0 and first < last and not write_all(self._write_end, memoryview(piece)[first:last]):
            os.close(self._write_end)
            self._write_end = -1
        if self._write_end >= 0 and self.total + len(piece) >= self._end:
            os.close(self._write_end)
            self._write_end = -1

    def _give(self, fd: int, piece: bytes) -> None:
        if not write_all(fd, memoryview(piece)):
            self._followers.remove(fd)
            os.close(fd)


def write_all(fd: int, view: memoryview) -> bool:
    """Write everything; False when the reader has gone: it has its own way to say why."""
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        return False
    return True


class Decompressor:
    """An external decompressor between the feed and the tar walker; with method None the feed itself."""

    def __init__(self, method: str | None, label: str, stdin: int) -> None:
        """Start it on the pipe end `stdin`, which it takes over."""
        self._label, self._method = label, method
        self._process: process.Process[bytes] | None = None
        self.fd = stdin
        if method is None:
            return
        argv = command(method, label)
        read_end, write_end = os.pipe()
        widen(write_end)
        self._process = process.start(argv, stdin=stdin, stdout=write_end, stderr=process.PIPE)
        os.close(write_end)
        os.close(stdin)
        self.fd = read_end

    def finish(self) -> None:
        """RocblasError when it met a damaged stream."""
        if self._process is None:
            return
        errors = self._process.communicate()[1]
        if self._process.returncode:
            last: Any = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise SourceRejected(f"{self._label}: {self._method} says it is damaged: {''.join(last)}. Fetch it again.")

    def close(self) -> None:
        """Stop it and release the pipe; safe after finish()."""
        os.close(self.fd)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
