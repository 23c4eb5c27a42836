"""What a package says about itself: Arch's .PKGINFO and .MTREE, Debian's control and md5sums."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from .errors import SourceRejected

MAX_MTREE = 64 * 1024 * 1024
_OCTAL = re.compile(r"\\([0-7]{3})")


class Package(NamedTuple):
    """Name, full version and architecture as the archive itself states them; None where it states nothing."""

    name: str | None = None
    version: str | None = None
    arch: str | None = None


class Digest(NamedTuple):
    """One listed digest; `size` in bytes or None."""

    algorithm: str
    value: str
    size: int | None


def parse_pkginfo(data: bytes) -> Package:
    """`key = value` lines of Arch's .PKGINFO."""
    return _package(data, " = ", "pkgname", "pkgver", "arch")


def parse_control(data: bytes) -> Package:
    """Fields of a Debian control file."""
    return _package(data, ":", "Package", "Version", "Architecture")


def _package(data: bytes, separator: str, name: str, version: str, arch: str) -> Package:
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, mark, value = line.partition(separator)
        if mark:
            found.setdefault(key.strip(), value.strip())
    return Package(found.get(name), found.get(version), found.get(arch))


def parse_mtree(data: bytes, label: str) -> dict[str, Digest]:
    """Digests of regular files in a gzip'ed mtree by path without the leading `./`; RocblasError when damaged."""
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        text = unpacker.decompress(data, MAX_MTREE)
    except zlib.error as error:
        raise SourceRejected(f"{label}: its .MTREE is damaged ({error}). Fetch it again.") from None
    if not unpacker.eof:
        raise SourceRejected(f"{label}: its .MTREE is cut off or larger than {MAX_MTREE} bytes.")
    result: dict[str, Digest] = {}
    defaults: dict[str, str] = {}
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        path, dummy, rest = line.strip().partition(" ")
        words = dict(word.partition("=")[::2] for word in rest.split())
        if path == "/set":
            defaults.update(words)
        elif path.startswith("./"):
            words = {**defaults, **words}
            if words.get("type") == "file" and "sha256digest" in words:
                size = words.get("size", "")
                result[_unescape(path[2:])] = Digest(
                    "sha256", words["sha256digest"], int(size) if size.isdigit() else None
                )
    return result


def _unescape(path: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), path)


def parse_md5sums(data: bytes) -> dict[str, Digest]:
    """Debian's md5sums: a guard against damage; the trust comes from the archive's own digest."""
    result = {}
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        value, dummy, path = line.partition("  ")
        if path:
            result[path] = Digest("md5", value, None)
    return result


def upstream_version(version: str) -> str:
    """`1:6.4.3-3` -> `6.4.3`: without epoch and packaging revision."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]


def version_matches(expected: str, found: str) -> bool:
    """`expected` may be the upstream version or the full one of the package."""
    return expected in (found, found.rpartition(":")[2], upstream_version(found))
