"""Packages put together from frames: a member that did not change is not compressed again."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.proofs.material import Material
from tests.unit.rocblas import synthetic

ARCH_FOLDER = synthetic.LIBRARY
DEB_FOLDER = "./usr/lib/x86_64-linux-gnu/rocblas/4.4.1/library"
TAR_END = bytes(2 * 512)
VERSIONS = {"arch": "6.4.3-3", "deb": "6.4.4-4"}


class Member(NamedTuple):
    """One tar member; `header` replaces the 512 bytes (or more) that would be made for it."""

    name: str
    data: bytes
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    header: bytes | None = None

    def block(self) -> bytes:
        """Header, data and padding."""
        info = tarfile.TarInfo(self.name)
        info.size, info.type, info.linkname, info.mtime = len(self.data), self.kind, self.link, 1_750_000_000
        head = info.tobuf(tarfile.GNU_FORMAT) if self.header is None else self.header
        return head + self.data + bytes(-len(self.data) % 512)


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"zst": synthetic.zstd, "xz": _xz}


class Packer:
    """Makes whole packages of one kind (`arch` or `deb`) and compression out of members."""

    def __init__(self, material: Material, kind: str, compression: str) -> None:
        """Compress every member of the good package once."""
        self.kind, self.compression, self.material = kind, compression, material
        self.folder = ARCH_FOLDER if kind == "arch" else DEB_FOLDER
        self._compress = COMPRESSORS[compression]
        self._known: dict[int, bytes] = {}
        library = "opt/rocm/lib/" if kind == "arch" else "./usr/lib/x86_64-linux-gnu/"
        self.members = [Member(f"{library}librocblas.so.4.4", b"so")]
        files = sorted(material.complete().items())
        self.members += [Member(f"{self.folder}/{name}", data) for name, data in files]
        for member in self.members:
            self._known[id(member)] = self._compress(member.block())
        self._end = self._compress(TAR_END)
        self._digests: dict[int, tuple[str, str]] = {}
        self.good = self.pack(self.members)

    @property
    def suffix(self) -> str:
        """What the file is called."""
        return ".pkg.tar.zst" if self.kind == "arch" else ".deb"

    def listing(self, members: Sequence[Member]) -> bytes:
        """The package's own list of digests."""
        regular = [member for member in members if member.kind == tarfile.REGTYPE]
        if self.kind == "deb":
            return "".join(f"{self._digest(m)[1]}  {m.name[2:]}\n" for m in regular).encode()
        lines = ["#mtree", "/set type=file uid=0 gid=0 mode=644"]
        lines += [f"./{m.name} time=1.0 size={len(m.data)} sha256digest={self._digest(m)[0]}" for m in regular]
        return gzip.compress("\n".join(lines).encode(), mtime=0)

    def information(self, **changes: str) -> bytes:
        """The package's .PKGINFO or control file."""
        if self.kind == "arch":
            fields = {"pkgname": "rocblas", "pkgver": VERSIONS["arch"], "arch": "x86_64", **changes}
            return "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()
        fields = {"Package": "librocblas4", "Version": VERSIONS["deb"], "Architecture": "amd64", **changes}
        return "".join(f"{key}: {value}\n" for key, value in fields.items()).encode()

    def pack(self, members: Sequence[Member], listing: bytes | None = None, information: bytes | None = None) -> bytes:
        """The package's bytes; `listing` and `information` replace what belongs to `members`."""
        listing = self.listing(members) if listing is None else listing
        information = self.information() if information is None else information
        frames = [self._known.get(id(member)) or self._compress(member.block()) for member in members]
        if self.kind == "arch":
            # makepkg's order: .BUILDINFO, .MTREE and .PKGINFO come first
            own = {".BUILDINFO": b"format = 2\n", ".MTREE": listing, ".PKGINFO": information}
            frames = [self._compress(Member(name, data).block()) for name, data in own.items() if data] + frames
        body = b"".join([*frames, self._end])
        if self.kind == "arch":
            return body
        control = io.BytesIO()
        with tarfile.open(fileobj=control, mode="w") as tar:
            synthetic.add(tar, "./control", information)
            synthetic.add(tar, "./md5sums", listing)
        packed = self._compress(control.getvalue())
        parts = {"debian-binary": b"2.0\n", f"control.tar.{self.compression}": packed}
        return ar({**parts, f"data.tar.{self.compression}": body})

    def _digest(self, member: Member) -> tuple[str, str]:
        if id(member) not in self._known:
            return _digests(member.data)
        if id(member) not in self._digests:
            self._digests[id(member)] = _digests(member.data)
        return self._digests[id(member)]


def _digests(data: bytes) -> tuple[str, str]:
    return hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest()


def ar(parts: dict[str, bytes]) -> bytes:
    """An ar archive, the outer shell of a .deb."""
    out = [b"!<arch>\n"]
    for name, data in parts.items():
        out.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
        out.append(data + b"\n" * (len(data) % 2))
    return b"".join(out)
