"""Compare a library with its manifest: what changed behind our back, and is the source still the recorded one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from . import names
from .errors import RocblasError
from .identity import CHUNK, Identity
from .identity import digest as digest_of
from .manifest import Entry, Manifest, Stat, stat_of
from .metadata import version_matches
from .request import Request


def current(library: Path, arch: str) -> dict[str, Stat | None]:
    """Return the kernels of `arch` in the library; None for a name that is no plain file."""
    pattern = names.kernel_pattern(arch)
    return {path.name: stat_of(path) for path in library.iterdir() if pattern.fullmatch(path.name)}


def find_drift(
    record: Manifest, library: Path, found: dict[str, Stat | None], request: Request
) -> dict[str, list[str]]:
    """What changed behind our back since the manifest was written."""
    present = {name: stat_of(library / name) for name in record.files}
    return {
        "missing": sorted(
            name for name, found in present.items() if found is None and not os.path.lexists(library / name)
        ),
        "modified": sorted(
            name
            for name, entry in record.files.items()
            if os.path.lexists(library / name) and not _matches(library / name, entry, request.verify)
        ),
        "foreign": sorted(set(found) - set(record.files)),
        "catalogs": sorted(
            name for name, entry in record.catalogs.items() if not _matches(library / name, entry, request.verify)
        ),
    }


def _matches(path: Path, entry: Entry, verify: str) -> bool:
    if stat_of(path) != entry.stat:
        return False
    return verify != "sha256" or sha256_of(path) == entry.sha256


def intact(path: Path, entry: Entry) -> bool:
    """True when the file still has the bytes that were installed, even if copied or touched since."""
    found = stat_of(path)
    return found == entry.stat or (found is not None and found[0] == entry.stat[0] and sha256_of(path) == entry.sha256)


def fulfils(record: Manifest, request: Request) -> bool:
    """True when what is recorded is what is asked for, as far as can be told without the source."""
    if record.arch != request.gpu_arch or (record.mismatch_allowed and not request.allow_version_mismatch):
        return False
    if request.signature and not record.source.get("signed_by"):
        return False
    if request.sha256 and record.source["sha256"] != request.sha256.lower():
        return False
    if request.expected_files is not None and len(_kernels(record)) != request.expected_files:
        return False
    found = record.source.get("version")
    strict = request.version is not None and not request.allow_version_mismatch
    return not strict or bool(found and version_matches(str(request.version), found))


def same_origin(record: Manifest, request: Request) -> bool:
    """True when the kernels came from the address that is asked for: then the source is not needed again."""
    return request.source_id is not None and record.source.get("id") == request.source_id


def same_source(record: Manifest, src: Path, identity: Identity, request: Request) -> bool:
    """True when `src` is what was installed; reads it only when its date or place is another."""
    if request.verify == "stat" and list(identity) == record.source["identity"]:
        return True
    return bool(digest_of(src) == record.source["sha256"])


def _kernels(record: Manifest) -> list[str]:
    pattern = names.kernel_pattern(record.arch)
    return [name for name in record.files if pattern.fullmatch(name)]


def sha256_of(path: Path) -> str:
    """Hash a file without following a link at its name."""
    digest = hashlib.sha256()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb", buffering=0) as stream:
            piece = stream.read(CHUNK)
            while piece:
                digest.update(piece)
                piece = stream.read(CHUNK)
    except OSError as error:
        raise RocblasError(f"{path}: cannot be read: {error.strerror}.") from None
    return digest.hexdigest()
