"""Walk a tar stream once: read headers, hand out or skip bodies, trust nothing.

Why not GNU tar: from a pipe it can either list or extract in one pass, not refuse a member name before writing it, nor
hash what it writes. A header walker over the same pipe is as fast (tar's work is the decompressor's), writes only what
the caller asked for under names the caller checked, and has every byte in hand for the digests.
Why not tarfile: 7.0 s instead of 3.1 s on the 4.1 GB package. Formats: POSIX.1-2017 pax/ustar, GNU long names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Callable, NamedTuple

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


class TarStream:
    """Iterate members of the tar read from `fd`; call copy() for a body inside the loop, or it is skipped."""

    def __init__(self, fd: int, label: str) -> None:
        """Read from `fd`; `label` names the archive in errors."""
        self._fd = fd
        self._label = label
        self._view = memoryview(bytearray(CHUNK))
        self._left = 0
        self._pad = 0
        self._null = os.open(os.devnull, os.O_WRONLY)
        # Python 3.10+; moves bytes to /dev/null without copying them, from a pipe alone.
        self._splice = getattr(os, "splice", None) if stat.S_ISFIFO(os.fstat(fd).st_mode) else None

    def close(self) -> None:
        """Release what the walker opened (not the stream itself)."""
        os.close(self._null)

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
            count = os.readv(self._fd, [self._view[: min(CHUNK, self._left)]])
            if not count:
                raise self._broken("it ends inside a file")
            self._left -= count
            sink(self._view[:count])

    def body(self, limit: int = MAX_META) -> bytes:
        """Return the current member's contents, at most `limit` bytes."""
        if self._left > limit:
            raise self._broken(f"a metadata member of {self._left} bytes")
        pieces = bytearray()
        self.copy(pieces.extend)
        return bytes(pieces)

    def _broken(self, why: str) -> SourceRejected:
        return SourceRejected(f"{self._label}: damaged or cut off: {why}. Fetch it again.")

    def _exactly(self, count: int) -> bytes:
        pieces = b""
        while len(pieces) < count:
            piece = os.read(self._fd, count - len(pieces))
            if not piece:
                raise self._broken("the tar stream ends early")
            pieces += piece
        return pieces

    def _skip(self, count: int) -> None:
        while count:
            step = min(count, CHUNK)
            done = self._splice(self._fd, self._null, step) if self._splice else self._read_away(step)
            if not done:
                raise self._broken("it ends inside a file")
            count -= done

    def _read_away(self, step: int) -> int:
        return os.readv(self._fd, [self._view[:step]])

    def _end(self) -> None:
        """After the first zero block: the second must follow, then drain, so that the decompressor checks its sums."""
        if self._exactly(BLOCK).strip(b"\0"):
            raise self._broken("a lone zero block")
        while self._read_away(CHUNK):
            pass

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
