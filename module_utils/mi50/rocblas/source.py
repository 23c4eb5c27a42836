"""Open a source of kernels: .pkg.tar.zst, .deb, a tar in any usual compression, or an unpacked directory."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import IO, NamedTuple

from .collect import Collector, walk
from .errors import RocblasError, SourceRejected
from .metadata import parse_control, parse_md5sums
from .signature import Verdict, Verifier
from .tarwalk import CHUNK, Data
from .unpack import compressed, opened

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
AR_END = b"`\n"
MAX_CONTROL = 16 * 1024**2
MAX_CONTROL_PLAIN = 64 * 1024**2
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"


class Identity(NamedTuple):
    """What an unchanged run compares instead of reading: size in bytes, mtime in ns, and the inode."""

    size: int
    mtime_ns: int
    inode: int


class Source(NamedTuple):
    """A source that was read to its end."""

    kind: str
    sha256: str
    identity: Identity
    content: Collector
    verdict: Verdict | None


class _Section(NamedTuple):
    """Where the tar lies in the file; `taken` are the bytes already read."""

    taken: bytes
    start: int
    length: int
    kind: str


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


def read(src: Path, collector: Collector, signature: str = "", keyring: str = "") -> Source:
    """Read `src` once; RocblasError when it is damaged, unsafe, or its signature does not verify."""
    before = identify(src)
    if src.is_dir():
        if signature:
            raise RocblasError(f"{src}: a directory has no signature; give the package it came from as src.")
        result = Source("directory", _read_directory(src, collector), before, collector, None)
    else:
        with src.open("rb", buffering=0) as source:
            result = _read_file(source, before, collector, signature, keyring)
    if identify(src) != before:
        raise RocblasError(f"{src}: it was replaced or written to while it was read. Run again.")
    return result


def digest(src: Path) -> str:
    """Sha256 of a source without unpacking it, the same value read() returns."""
    if src.is_dir():
        return _read_directory(src, None)
    result = hashlib.sha256()
    with src.open("rb", buffering=0) as source:
        while True:
            piece = source.read(CHUNK)
            if not piece:
                return result.hexdigest()
            result.update(piece)


def _read_directory(src: Path, collector: Collector | None) -> str:
    """Digest over names and contents of all files; offers them to the collector, metadata first."""
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
            if collector is not None:
                collector.offer(name, kind, status.st_size, int(status.st_mtime), functools.partial(_pump, fd))
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


def _read_file(source: IO[bytes], identity: Identity, collector: Collector, signature: str, keyring: str) -> Source:
    section = _locate(source, identity.size, collector)
    with contextlib.ExitStack() as stack:
        verifier = Verifier(signature, keyring) if signature else None
        if verifier:
            stack.callback(verifier.close)
        followers = [verifier.stdin] if verifier else []
        work = stack.enter_context(
            opened(source, section.taken, (section.start, section.length), collector.label, followers)
        )
        for member in work.stream:
            collector.offer(member.name, member.kind, member.size, member.mtime, work.stream.copy)
        work.finish()
        sha256 = work.feed.finish()
        verdict = verifier.finish() if verifier else None
    kind = "arch" if collector.metadata else section.kind
    return Source(kind, sha256, identity, collector, verdict)


def _locate(source: IO[bytes], size: int, collector: Collector) -> _Section:
    head = _exactly(source, min(size, CHUNK), collector.label)
    if head.startswith(AR_MAGIC):
        return _locate_deb(source, head, size, collector)
    if not compressed(head) and head[TAR_MAGIC_AT : TAR_MAGIC_AT + len(TAR_MAGIC)] != TAR_MAGIC:
        raise SourceRejected(
            f"{collector.label}: not a package: starts with {head[:8].hex() or 'nothing'}; expected .pkg.tar.zst, .deb "
            "or a tar (plain, gz, xz, zst). A saved error page of a web server looks like this, too."
        )
    return _Section(head, 0, size, "tar")


def _locate_deb(source: IO[bytes], head: bytes, size: int, collector: Collector) -> _Section:
    """Walk the ar members up to data.tar; what was read stays in `taken` for the digest."""
    at = len(AR_MAGIC)
    while True:
        while len(head) < at + AR_HEADER:
            head += _exactly(source, min(CHUNK, size - len(head)), collector.label)
        header = head[at : at + AR_HEADER]
        name, length = header[:16].decode("ascii", "replace").strip(" /"), header[48:58].strip()
        if header[58:] != AR_END or not length.isdigit() or at + AR_HEADER + int(length) > size:
            raise SourceRejected(f"{collector.label}: damaged or cut off: no valid .deb. Fetch it again.")
        at += AR_HEADER
        if name.startswith("data.tar"):
            if at + int(length) + int(length) % 2 < size:
                raise SourceRejected(f"{collector.label}: refused, something follows its {name}. Fetch it again.")
            head += _exactly(source, min(16, size - len(head)) if len(head) < at + 16 else 0, collector.label)
            return _Section(head, at, int(length), "deb")
        if int(length) > MAX_CONTROL:
            raise SourceRejected(f"{collector.label}: refused, its {name} has {int(length)} bytes.")
        while len(head) < at + int(length):
            head += _exactly(source, min(CHUNK, size - len(head)), collector.label)
        if name.startswith("control.tar"):
            _control(head[at : at + int(length)], collector)
        at += int(length) + int(length) % 2


def _exactly(source: IO[bytes], count: int, label: str) -> bytes:
    data = b""
    while len(data) < count:
        piece = source.read(count - len(data))
        if not piece:
            raise SourceRejected(f"{label}: damaged or cut off: it ends early. Fetch it again.")
        data += piece
    if not data and count:
        raise SourceRejected(f"{label}: empty.")
    return data


def _control(data: bytes, collector: Collector) -> None:
    """Read control and md5sums out of a small compressed tar held in memory."""
    label = f"{collector.label}: control"
    with opened(io.BytesIO(data), data, (0, len(data)), label) as work:
        for member in work.stream:
            name = member.name[2:] if member.name.startswith("./") else member.name
            if member.regular and name == "control":
                collector.package = parse_control(work.stream.body())
                collector.early(collector.package)
            elif member.regular and name == "md5sums":
                collector.digests = parse_md5sums(work.stream.body(MAX_CONTROL_PLAIN))
        work.finish()
