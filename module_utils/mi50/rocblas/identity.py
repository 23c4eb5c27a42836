"""Is a source still the one that was installed? Looks at it without unpacking anything."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

from .errors import RocblasError

CHUNK = 256 * 1024
Data = Callable[[memoryview], None]
# name, type flag as in a tar header, size in bytes, mtime in seconds, and how to get at the contents
Offer = Callable[[str, bytes, int, int, Callable[[Data], None]], None]


class Identity(NamedTuple):
    """What an unchanged run compares instead of reading: size in bytes, mtime in ns, and the inode."""

    size: int
    mtime_ns: int
    inode: int


def identify(src: Path) -> Identity:
    """Stat a file, or sum up a directory; RocblasError when there is none."""
    try:
        status = src.stat()
    except OSError as error:
        raise RocblasError(f"{src}: cannot be read: {error.strerror}. `src` is a path on the managed node.") from None
    if stat.S_ISDIR(status.st_mode):
        entries = [path.lstat() for dummy, path in walk(src)]
        return Identity(sum(e.st_size for e in entries), max((e.st_mtime_ns for e in entries), default=0), len(entries))
    if not stat.S_ISREG(status.st_mode):
        raise RocblasError(f"{src}: neither a file nor a directory.")
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


def digest(src: Path) -> str:
    """Sha256 of a source without unpacking it, the same value read() returns."""
    if src.is_dir():
        return read_directory(src, None)
    result = hashlib.sha256()
    with src.open("rb", buffering=0) as source:
        while True:
            piece = source.read(CHUNK)
            if not piece:
                return result.hexdigest()
            result.update(piece)


def read_directory(src: Path, offer: Offer | None) -> str:
    """Digest over names and contents of all files; offers them, metadata first."""
    result = hashlib.sha256()
    members = sorted(walk(src), key=lambda entry: (not entry[0].startswith("."), entry[0]))
    for name, path in members:
        status = path.lstat()
        kind = _kind(status.st_mode)
        inner = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW) if kind == b"0" else -1
            if fd >= 0:
                stack.callback(os.close, fd)
            if offer is not None:
                offer(name, kind, status.st_size, int(status.st_mtime), functools.partial(_pump, fd))
            if fd >= 0:
                os.lseek(fd, 0, os.SEEK_SET)
                _pump(fd, inner.update)
        result.update(f"{name}\0{kind.decode()}{inner.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return result.hexdigest()


def _kind(mode: int) -> bytes:
    if stat.S_ISREG(mode):
        return b"0"
    return b"2" if stat.S_ISLNK(mode) else b"3"


def _pump(fd: int, sink: Data) -> None:
    view = memoryview(bytearray(CHUNK))
    while fd >= 0:
        count = os.readv(fd, [view])
        if not count:
            return
        sink(view[:count])


def walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield relative name and path of everything below a directory but directories, sorted, links not followed."""
    for folder, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(files + [entry for entry in directories if (Path(folder) / entry).is_symlink()]):
            path = Path(folder) / name
            yield str(path.relative_to(root)), path
