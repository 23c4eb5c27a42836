"""Read a source once: stage and hash what is wanted, note what the later proofs need, refuse what is unsafe."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from array import array
from collections.abc import Iterator
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
    symbols: array[int]
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
        catalog, index = base.endswith(".dat"), base == names.lazy_index(self.arch)
        fallback = "_fallback_" in base and not catalog
        # Of most files only what is looked at: the whole set would not fit into the memory this may take.
        keep = MAX_CATALOG if index or fallback else 0 if catalog else codeobject.HEAD_BYTES
        kept, needs = bytearray(), _Needs()

        with self._stored(base, mtime) as store:

            def sink(piece: memoryview) -> None:
                sha256.update(piece)
                if md5:
                    md5.update(piece)
                if len(kept) < keep:
                    kept.extend(piece[: keep - len(kept)])
                if kernel and catalog:
                    needs.look(piece)
                store(piece)

            feed(sink)
        if kernel and not catalog:
            codeobject.check(base, bytes(kept[: codeobject.HEAD_BYTES]), size, self.arch)
        if index:
            self.index = bytes(kept)
        symbols = codeobject.symbols(kept) if fallback else array("q")
        return Item(size, sha256.hexdigest(), md5.hexdigest() if md5 else "", mtime, symbols, frozenset(needs.found))

    @contextlib.contextmanager
    def _stored(self, base: str, mtime: int) -> Iterator[Callable[[memoryview], None]]:
        """Give a function that writes to the file in the stage; in check mode one that does nothing."""
        stage = self._stage
        if stage is None:
            yield lambda piece: None
            return
        fd = stage.create(base)
        try:
            yield functools.partial(stage.write, fd)
        except BaseException:
            os.close(fd)
            raise
        stage.done(fd, mtime)

    def _wants_md5(self) -> bool:
        return any(digest.algorithm == "md5" for digest in list(self.digests.values())[:1])


class _Needs:
    """Suffixes of the code objects that a catalog refers to, found while it passes."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._tail = b""

    def look(self, piece: memoryview) -> None:
        """Look at the next piece, and across the border to the last one."""
        data = self._tail + bytes(piece)
        if SOURCE_KERNEL in data:
            self.found.add(".hsaco")
        if ASSEMBLY_KERNEL in data:
            self.found.add(".co")
        self._tail = data[1 - len(SOURCE_KERNEL) :]
