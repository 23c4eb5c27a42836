"""Read a source once: stage and hash what is wanted, note what the later proofs need, refuse what is unsafe."""

from __future__ import annotations

import hashlib
import os
from typing import Callable, NamedTuple

from . import codeobject, names
from .errors import SourceRejected
from .metadata import Digest, Package, parse_mtree, parse_pkginfo
from .stage import Stage
from .tarwalk import DEVICES, LINKS

MAX_FILES = 10_000
# The whole set has 142 MB in Debian's build: room for ten of them, none for an archive that fills the disk.
MAX_TOTAL = 2 * 1024**3
MAX_CATALOG = 64 * 1024**2
# Keys of a catalog's solutions in MessagePack: true needs the .hsaco beside the catalog, false the .co.
SOURCE_KERNEL, ASSEMBLY_KERNEL = b"\xacsourceKernel\xc3", b"\xacsourceKernel\xc2"


class Item(NamedTuple):
    """A wanted file; `size` bytes, `mtime` seconds; `symbols` only for fallback kernels, `needs` only for catalogs."""

    size: int
    sha256: str
    md5: str
    mtime: int
    symbols: frozenset[bytes]
    needs: frozenset[str]


Feeder = Callable[[Callable[[memoryview], None]], None]


class Collector:
    """Gathers one source; `offer` is called for every member of it in order."""

    def __init__(self, label: str, arch: str, stage: Stage | None, early: Callable[[Package], None]) -> None:
        """Write files into `stage`, or nowhere when None (check mode); `early` may refuse a package by its metadata."""
        self.label, self.arch = label, arch
        self.package = Package()
        self.digests: dict[str, Digest] = {}
        self.kernels: dict[str, Item] = {}
        self.catalogs: dict[str, Item] = {}
        self.index: bytes | None = None
        self.soname = ""
        self.folder: str | None = None
        self._total = 0
        self.metadata: set[str] = set()
        self._stage = stage
        self.early = early
        self._pattern = names.kernel_pattern(arch)

    def offer(self, name: str, kind: bytes, size: int, mtime: int, feed: Feeder) -> None:
        """Take the member if it is wanted; RocblasError when it must not be in a package at all."""
        path = name[2:] if name.startswith("./") else name
        if names.unsafe(path):
            raise SourceRejected(
                f"{self.label}: refused, it holds a member named {name!a} that points out of the archive."
            )
        if kind in DEVICES:
            raise SourceRejected(
                f"{self.label}: refused, {path} is a device node or pipe; no package of rocBLAS has any."
            )
        folder, dummy, base = path.rpartition("/")
        soname = names.SONAME.fullmatch(base)
        if soname:
            self.soname = soname.group(1)
        if path in (".PKGINFO", ".MTREE"):
            self._meta(path, kind, size, feed)
            return
        kernel, catalog = self._pattern.fullmatch(base), names.FALLBACK.fullmatch(base)
        if not (kernel or catalog) or path.endswith("/"):
            return
        self._place(path, folder, base, kind, size)
        item = self._take(base, size, mtime, feed, bool(kernel))
        (self.kernels if kernel else self.catalogs)[base] = item

    def _place(self, path: str, folder: str, base: str, kind: bytes, size: int) -> None:
        if kind in LINKS:
            raise SourceRejected(f"{self.label}: refused, {path} is a link; kernels are plain files.")
        if base in self.kernels or base in self.catalogs:
            raise SourceRejected(f"{self.label}: refused, {base} is in it twice.")
        if self.folder not in (None, folder):
            raise SourceRejected(f"{self.label}: refused, {self.arch} files lie in both {self.folder} and {folder}.")
        self._total += size
        if self._total > MAX_TOTAL or len(self.kernels) + len(self.catalogs) >= MAX_FILES:
            raise SourceRejected(f"{self.label}: refused, {path} is beyond {MAX_TOTAL} bytes or {MAX_FILES} files.")
        self.folder = folder

    def _meta(self, path: str, kind: bytes, size: int, feed: Feeder) -> None:
        if path in self.metadata or kind in LINKS or size > MAX_CATALOG:
            raise SourceRejected(f"{self.label}: refused, {path} is in it twice, a link, or too large.")
        self.metadata.add(path)
        data = bytearray()
        feed(data.extend)
        if path == ".PKGINFO":
            self.package = parse_pkginfo(bytes(data))
            self.early(self.package)
        else:
            self.digests = parse_mtree(bytes(data), self.label)

    def _take(self, base: str, size: int, mtime: int, feed: Feeder, kernel: bool) -> Item:
        sha256 = hashlib.sha256()
        md5 = hashlib.new("md5", usedforsecurity=False) if self._wants_md5() else None
        catalog = base.endswith(".dat")
        fallback = "_fallback_" in base
        keep = MAX_CATALOG if catalog or fallback else codeobject.HEAD_BYTES
        kept = bytearray()
        fd = self._stage.create(base) if self._stage else -1

        def sink(piece: memoryview) -> None:
            sha256.update(piece)
            if md5:
                md5.update(piece)
            if len(kept) < keep:
                kept.extend(piece[: keep - len(kept)])
            if self._stage:
                self._stage.write(fd, piece)

        try:
            feed(sink)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        if self._stage:
            self._stage.done(fd, mtime)
        if kernel and not catalog:
            codeobject.check(base, bytes(kept[: codeobject.HEAD_BYTES]), size, self.arch)
        if base == names.lazy_index(self.arch):
            self.index = bytes(kept)
        symbols = codeobject.symbols(bytes(kept)) if fallback and not catalog else frozenset()
        needs = _needs(bytes(kept)) if kernel and catalog else frozenset()
        return Item(size, sha256.hexdigest(), md5.hexdigest() if md5 else "", mtime, symbols, needs)

    def _wants_md5(self) -> bool:
        return any(digest.algorithm == "md5" for digest in list(self.digests.values())[:1])


def _needs(catalog: bytes) -> frozenset[str]:
    """Suffixes of the code objects a catalog refers to."""
    found = set()
    if SOURCE_KERNEL in catalog:
        found.add(".hsaco")
    if ASSEMBLY_KERNEL in catalog:
        found.add(".co")
    return frozenset(found)
