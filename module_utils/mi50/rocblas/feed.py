"""One read of the source feeds the digest, the signature check and the decompressor: all three see the same bytes.

A source that is replaced or rewritten while it is read can therefore never pass the check with one content and be
installed with another.
"""

from __future__ import annotations

import collections
import errno
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Protocol

from . import pipes
from .errors import RocblasError

CHUNK = 256 * 1024
DEPTH = 4


class Sink(Protocol):
    """Takes the compressed body of the source piece by piece."""

    def put(self, piece: bytes) -> bool:
        """Take a piece; False when nobody reads any more."""

    def end(self) -> None:
        """Say that nothing follows; called once."""


class Queue:
    """A few pieces in memory between the feed's thread and the reader in this process; iterate to read."""

    def __init__(self) -> None:
        """Empty and open."""
        self._pieces: collections.deque[bytes] = collections.deque()
        self._change = threading.Condition()
        self._ended = self._given_up = False

    def put(self, piece: bytes) -> bool:
        """Wait for room and take the piece; False after give_up()."""
        with self._change:
            while len(self._pieces) >= DEPTH and not self._given_up:
                self._change.wait()
            self._pieces.append(piece)
            self._change.notify()
            return not self._given_up

    def end(self) -> None:
        """Nothing follows."""
        with self._change:
            self._ended = True
            self._change.notify()

    def give_up(self) -> None:
        """The reader wants no more; a writer that waits goes on."""
        with self._change:
            self._given_up = True
            self._change.notify()

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces until the end."""
        while True:
            with self._change:
                while not self._pieces and not self._ended:
                    self._change.wait()
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
                self._change.notify()
            yield piece


class Feed:
    """Copies a section of a file to a sink in a thread, and the whole of it to the digest and the followers."""

    def __init__(
        self, source: IO[bytes], taken: bytes, section: tuple[int, int], sink: Sink, followers: Sequence[int]
    ) -> None:
        """`taken` was already read from `source`; the sink gets bytes start..start+length of the `section`."""
        self._source = source
        self._start, self._end = section[0], section[0] + section[1]
        self._sink: Sink | None = sink
        self._followers = [fd for fd in followers if fd >= 0]
        self._digest = hashlib.sha256()
        self._head = taken
        self._total = 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def finish(self) -> str:
        """Wait for the end of the file and return its sha256; RocblasError on a read error."""
        self._thread.join()
        if self._error is not None:
            raise RocblasError(f"{self._source.name}: cannot be read: {self._error.strerror}.")
        return self._digest.hexdigest()

    def _run(self) -> None:
        try:
            piece, self._head = self._head, b""
            piece = piece or self._source.read(CHUNK)
            while piece:
                # The reader first: it works on this piece while the digest is made.
                self._body(piece)
                self._digest.update(piece)
                for fd in list(self._followers):
                    self._give(fd, piece)
                self._total += len(piece)
                piece = self._source.read(CHUNK)
        except OSError as error:
            self._error = error
        except ValueError:
            # The file was closed under this thread: the reader refused the source and said why.
            self._error = OSError(errno.ECANCELED, "given up half-way")
        finally:
            for fd in self._followers:
                os.close(fd)
            self._close()

    def _body(self, piece: bytes) -> None:
        if self._sink is None:
            return
        first = max(self._start - self._total, 0)
        last = min(self._end - self._total, len(piece))
        wanted = piece if last - first == len(piece) else piece[first:last]
        read_on = first >= last or self._sink.put(wanted)
        if not read_on or self._total + len(piece) >= self._end:
            self._close()

    def _close(self) -> None:
        if self._sink is not None:
            self._sink.end()
            self._sink = None

    def _give(self, fd: int, piece: bytes) -> None:
        if not pipes.write_all(fd, memoryview(piece)):
            self._followers.remove(fd)
            os.close(fd)
