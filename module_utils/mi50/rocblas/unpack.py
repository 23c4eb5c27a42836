"""Choose how a stream is decompressed, and put the readers together."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import IO, Callable, NamedTuple

from . import pipes
from .errors import RocblasError, SourceRejected
from .feed import Feed, Queue, Sink
from .tarwalk import Reader, TarStream

try:
    from . import zstd
except ImportError:  # a Python that was built without ctypes: the program zstd does it
    zstd = None  # type: ignore[assignment]

MAGIC = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gzip",
}
# xz alone has threads to give: 18 s -> 9 s for Debian's package on two, and 10 -> 139 MiB, for each keeps whole blocks.
# zstd refuses windows over 128 MiB by itself.
COMMANDS = {"zstd": ["-dcq"], "xz": ["-dcq", "-T{threads}"], "gzip": ["-dcq"]}
MAGIC_BYTES = max(map(len, MAGIC))
PACKAGES = {"zstd": "zstd", "xz": "xz-utils", "gzip": "gzip"}


class _Unpacking(NamedTuple):
    """A sink for the compressed bytes, a reader for the plain ones, and what to do in the end."""

    sink: Sink
    reader: Reader
    finish: Callable[[], None]
    close: Callable[[], None]


def _compression(head: bytes) -> str | None:
    """Name the compression from the first bytes; None for none known."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def compressed(head: bytes) -> bool:
    """True when the first bytes are of a compression this can undo."""
    return _compression(head) is not None


def _command(method: str, label: str, threads: int) -> list[str]:
    """Command line of the decompressor; RocblasError naming the package when it is missing."""
    tool = shutil.which(method)
    if tool is None:
        raise RocblasError(f"{label}: {method} is needed to read it; install the package {PACKAGES[method]}.")
    return [tool, *(word.format(threads=threads) for word in COMMANDS[method])]


def _unpacking(method: str | None, label: str, threads: int = 0) -> _Unpacking:
    """Set a decompressor up (None: the bytes are plain); RocblasError when its program is missing."""
    lib = zstd.library() if zstd and method == "zstd" else None
    if lib is not None:
        queue = Queue()
        reader = zstd.ZstdReader(lib, iter(queue), label)

        def close() -> None:
            queue.give_up()
            reader.close()

        return _Unpacking(queue, reader, _nothing, close)
    argv = _command(method, label, threads) if method else []
    sink = pipes.PipeSink()
    if not argv:
        plain = pipes.PipeReader(sink.read_end, label)
        return _Unpacking(sink, plain, _nothing, _all(plain.close, lambda: os.close(sink.read_end)))
    program = pipes.Decompressor(argv, label, sink.read_end)
    behind = pipes.PipeReader(program.fd, label)
    return _Unpacking(sink, behind, program.finish, _all(behind.close, program.close))


class Opened(NamedTuple):
    """A source on its way: members to iterate, the feed that hashes it, and the end of the decompressor."""

    stream: TarStream
    feed: Feed
    finish: Callable[[], None]


@contextlib.contextmanager
def opened(
    source: IO[bytes],
    taken: bytes,
    section: tuple[int, int],
    label: str,
    followers: Sequence[int] = (),
    threads: int = 0,
) -> Iterator[Opened]:
    """Walk the tar in a section (start and length in bytes) of `source`, compressed or not; see Feed for the rest.

    `threads` for the decompressor, 0: one for each processor.

    Raises RocblasError when the decompressor is missing; the stream raises SourceRejected when it is damaged.
    """
    head = taken[section[0] : section[0] + MAGIC_BYTES]
    work = _unpacking(_compression(head), label, threads)
    try:
        feed = Feed(source, taken, section, work.sink, followers)
        feed.start()
        stream = TarStream(work.reader, label)
        try:
            yield Opened(stream, feed, work.finish)
        except SourceRejected:
            if stream.ended:
                work.finish()  # the decompressor's own word on damage is nearer to the cause than "ends early"
            raise
    finally:
        work.close()


def head_of(packed: bytes, limit: int, label: str) -> bytes:
    """Decompress the beginning of a cut-off zstd stream: what can be had of the first `limit` bytes."""
    work = _unpacking("zstd", label)
    plain = bytearray()
    try:
        Feed(io.BytesIO(packed), b"", (0, len(packed)), work.sink, ()).start()
        with contextlib.suppress(SourceRejected):
            while len(plain) < limit:
                piece = work.reader.piece(limit - len(plain))
                if not piece:
                    break
                plain += piece
    finally:
        work.close()
    return bytes(plain)


def _nothing() -> None:
    """Nothing to wait for: the reader itself notices damage."""


def _all(*steps: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    return run
