"""Open a source of kernels: .pkg.tar.zst, .deb, a tar in any usual compression, or an unpacked directory."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import IO, NamedTuple

from .collect import Collector
from .errors import RocblasError, SourceRejected
from .identity import CHUNK, Identity, identify, read_directory
from .metadata import parse_control, parse_md5sums
from .signature import Verdict, Verifier
from .unpack import compressed, opened

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
AR_END = b"`\n"
# Where time, owner, group, mode and size end in a header. Only the size is used, but a damaged one is damaged.
AR_FIELDS = (16, 28, 34, 40, 48, 58)
MAX_CONTROL = 16 * 1024**2
MAX_CONTROL_PLAIN = 64 * 1024**2
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"


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


def read(src: Path, collector: Collector, signature: str = "", keyring: str = "", threads: int = 0) -> Source:
    """Read `src` once, decompressed by so many threads (0: one for each processor).

    Raises RocblasError when it is damaged, unsafe, or its signature does not verify.
    """
    before = identify(src)
    if src.is_dir():
        if signature:
            raise RocblasError(f"{src}: a directory has no signature; give the package it came from as src.")
        result = Source("directory", read_directory(src, collector.offer), before, collector, None)
    else:
        with src.open("rb", buffering=0) as source:
            result = _read_file(source, before, collector, signature, keyring, threads)
    if identify(src) != before:
        raise RocblasError(f"{src}: it was replaced or written to while it was read. Run again.")
    return result


def _read_file(
    source: IO[bytes], identity: Identity, collector: Collector, signature: str, keyring: str, threads: int
) -> Source:
    section = _locate(source, identity.size, collector)
    with contextlib.ExitStack() as stack:
        verifier = Verifier(signature, keyring) if signature else None
        if verifier:
            stack.callback(verifier.close)
        followers = [verifier.stdin] if verifier else []
        work = stack.enter_context(
            opened(source, section.taken, (section.start, section.length), collector.label, followers, threads)
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
        name, numbers = header[:16].decode("ascii", "replace").strip(" /"), _ar_numbers(header)
        length = numbers[-1] if numbers else size
        if at + AR_HEADER + length > size:
            raise SourceRejected(f"{collector.label}: damaged or cut off: no valid .deb. Fetch it again.")
        at += AR_HEADER
        if name.startswith("data.tar"):
            if at + length + length % 2 != size:
                raise SourceRejected(f"{collector.label}: damaged: it does not end with its {name}. Fetch it again.")
            head += _exactly(source, min(16, size - len(head)) if len(head) < at + 16 else 0, collector.label)
            return _Section(head, at, length, "deb")
        if length > MAX_CONTROL:
            raise SourceRejected(f"{collector.label}: refused, its {name} has {length} bytes.")
        while len(head) < at + length:
            head += _exactly(source, min(CHUNK, size - len(head)), collector.label)
        if name.startswith("control.tar"):
            _control(head[at : at + length], collector)
        at += length + length % 2


def _ar_numbers(header: bytes) -> list[int]:
    """The numbers of an ar member's header; empty when it is damaged."""
    fields = [header[first:last].rstrip(b" ") for first, last in zip(AR_FIELDS, AR_FIELDS[1:])]
    sound = header[AR_FIELDS[-1] :] == AR_END and all(field.isdigit() for field in fields)
    return [int(field) for field in fields] if sound else []


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
