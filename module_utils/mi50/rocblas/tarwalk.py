"""Walk a tar stream once: read headers, hand out or skip bodies, trust nothing.

Why not GNU tar: from a pipe it can either list or extract in one pass, not refuse a member name before writing it, nor
hash what it writes. A header walker is faster (docs/rocblas.md: the 4 GB nobody wants need not cross a pipe), writes
only what the caller asked for under names the caller checked, and has every byte in hand for the digests.
Why not tarfile: 7.0 s instead of 3.1 s on the 4.1 GB package. Formats: POSIX.1-2017 pax/ustar, GNU long names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple, Protocol

from .errors import SourceRejected

BLOCK = 512
CHUNK = 1024 * 1024
MAX_META = 1024 * 1024
MAX_MEMBERS = 1_000_000
REGULAR, LINKS, DEVICES, DIRECTORY = b"0\0", b"12", b"346", b"5"
BASE256 = 0x80
Data = Callable[[memoryview], None]


class Member(NamedTuple):
    """One header: `kind` is its type flag, `size` in bytes, `mtime` in seconds."""

    name: str
    kind: bytes
    size: int
    mtime: int
    link: str

    @property
    def regular(self) -> bool:
        """True for a plain file."""
        return self.kind in REGULAR


class Reader(Protocol):
    """Where the plain bytes come from."""

    def piece(self, limit: int) -> memoryview:
        """At most `limit` bytes, valid until the next call; empty at the end."""

    def skip(self, limit: int) -> int:
        """Drop at most `limit` bytes and return how many; 0 at the end."""

    def close(self) -> None:
        """Release what the reader holds."""


class TarStream:
    """Iterate members of the tar that `reader` gives; call copy() for a body inside the loop, or it is skipped."""

    def __init__(self, reader: Reader, label: str) -> None:
        """Read from `reader`; `label` names the archive in errors."""
        self._reader = reader
        self._label = label
        self._left = 0
        self._pad = 0
        # True once the reader had nothing left: the stream behind it may know why.
        self.ended = False

    def __iter__(self) -> Iterator[Member]:
        """Yield every member; RocblasError when the archive is malformed or ends early."""
        extra: dict[str, str] = {}
        for dummy in range(MAX_MEMBERS):
            block = self._exactly(BLOCK)
            if not block.strip(b"\0"):
                self._end()
                return
            member = self._parse(block)
            if member.kind in b"LKxg":
                self._meta(member, extra)
                continue
            member = _override(member, extra)
            extra = {}
            self._left = member.size if member.kind not in LINKS + DEVICES + DIRECTORY else 0
            self._pad = -self._left % BLOCK
            yield member
            self._skip(self._left + self._pad)
            self._left = self._pad = 0
        raise self._broken(f"more than {MAX_MEMBERS} members")

    def copy(self, sink: Data) -> None:
        """Feed the body of the current member to `sink` in pieces; the piece is only valid during the call."""
        while self._left:
            piece = self._piece(self._left, "it ends inside a file")
            self._left -= len(piece)
            sink(piece)

    def body(self, limit: int = MAX_META) -> bytes:
        """Return the current member's contents, at most `limit` bytes."""
        if self._left > limit:
            raise self._broken(f"a metadata member of {self._left} bytes")
        pieces = bytearray()
        self.copy(pieces.extend)
        return bytes(pieces)

    def _broken(self, why: str) -> SourceRejected:
        return SourceRejected(f"{self._label}: damaged or cut off: {why}. Fetch it again.")

    def _piece(self, limit: int, why: str) -> memoryview:
        piece = self._reader.piece(limit)
        if not piece:
            self.ended = True
            raise self._broken(why)
        return piece

    def _exactly(self, count: int) -> bytes:
        pieces = b""
        while len(pieces) < count:
            pieces += self._piece(count - len(pieces), "the tar stream ends early")
        return pieces

    def _skip(self, count: int) -> None:
        while count:
            done = self._reader.skip(count)
            if not done:
                self.ended = True
                raise self._broken("it ends inside a file")
            count -= done

    def _end(self) -> None:
        """After the first zero block: the second must follow, then drain, so that the decompressor checks its sums."""
        if self._exactly(BLOCK).strip(b"\0"):
            raise self._broken("a lone zero block")
        while self._reader.skip(CHUNK):
            pass
        self.ended = True

    def _meta(self, member: Member, extra: dict[str, str]) -> None:
        """Long names (GNU L/K) and pax records of the member that follows."""
        if member.size > MAX_META:
            raise self._broken("an oversized extended header")
        data = self._exactly(member.size)
        self._skip(-member.size % BLOCK)
        if member.kind in b"LK":
            extra["path" if member.kind == b"L" else "linkpath"] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif member.kind == b"x":
            extra.update(self._pax(data))
        elif any(key in ("path", "linkpath", "size") for key in self._pax(data)):
            raise self._broken("a global header that renames every member")

    def _pax(self, data: bytes) -> dict[str, str]:
        records: dict[str, str] = {}
        while data:
            head = data.partition(b" ")[0]
            length = int(head) if head.isdigit() else 0
            record = data[len(head) + 1 : length - 1]
            key, equals, value = record.partition(b"=")
            if not equals or length > len(data) or data[length - 1 : length] != b"\n":
                raise self._broken("an invalid pax record")
            records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
            data = data[length:]
        if any(key.startswith("GNU.sparse") for key in records):
            raise self._broken("sparse members are not supported")
        size = records.get("size")
        if size is not None and not (size.isascii() and size.isdigit()):
            raise self._broken("an invalid size in a pax record")
        return records

    def _parse(self, block: bytes) -> Member:
        stored = self._number(block[148:156])
        unsigned = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
        if stored != unsigned:
            raise self._broken("a header with a wrong checksum")
        name = _string(block[0:100])
        prefix = _string(block[345:500]) if block[257:263] == b"ustar\0" else ""
        kind = block[156:157]
        if kind == b"S":
            raise self._broken("sparse members are not supported")
        return Member(
            f"{prefix}/{name}" if prefix else name,
            kind,
            self._number(block[124:136]),
            self._number(block[136:148], signed=True),
            _string(block[157:257]),
        )

    def _number(self, field: bytes, signed: bool = False) -> int:
        if field[0] & BASE256:
            value = int.from_bytes(bytes([field[0] & ~BASE256]) + field[1:], "big")
            # GNU's base 256: a leading 0xff is a negative number, which only a time may be.
            if field[0] & 0x40:
                value = 0 if signed else -1
            if 0 <= value < 1 << 62:
                return value
            raise self._broken("an invalid number in a header")
        text = field.strip(b" \0")
        try:
            value = int(text, 8) if text else 0
        except ValueError:
            value = -1
        if value < 0:
            raise self._broken("an invalid number in a header")
        return value


def _string(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _override(member: Member, extra: dict[str, str]) -> Member:
    size: str | None = extra.get("size")
    return member._replace(
        name=extra.get("path", member.name),
        link=extra.get("linkpath", member.link),
        size=int(size) if size else member.size,
    )
