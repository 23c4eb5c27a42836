"""The record of what was installed: `.gfx906_rocblas.json` in the library directory."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from . import names
from .errors import RocblasError
from .stage import sync_directory, unwritable

FORMAT = 1
MAX_MANIFEST = 16 * 1024**2
# size, mtime in ns, inode, permission bits: what `verify: stat` compares
Stat = tuple[int, int, int, int]


class Entry(NamedTuple):
    """One installed or relied-on file; `owned` is false for a file that was there before with the same bytes."""

    sha256: str
    owned: bool
    stat: Stat


class Manifest(NamedTuple):
    """Everything a later run needs to tell an intact installation from a disturbed one, and to undo it."""

    arch: str
    source: dict[str, Any]
    files: dict[str, Entry]
    catalogs: dict[str, Entry]
    directory_mtime_ns: int
    mismatch_allowed: bool


def stat_of(path: Path) -> Stat | None:
    """Return the comparison tuple of a regular file, None for anything else or nothing."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino, stat.S_IMODE(status.st_mode))


def load(library: Path) -> Manifest | None:
    """Read the manifest; None when there is none; RocblasError when it is damaged."""
    path = library / names.MANIFEST
    raw = _read(path)
    if raw is None:
        return None
    try:
        data = json.loads(raw)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return Manifest(
            str(data["gpu_arch"]),
            dict(data["source"]),
            _entries(data["files"]),
            _entries(data["catalogs"]),
            int(data["directory_mtime_ns"]),
            bool(data["mismatch_allowed"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RocblasError(
            f"{path}: damaged ({error}). Re-install rocBLAS there, remove the file, and run again."
        ) from None


def _entries(data: dict[str, Any]) -> dict[str, Entry]:
    result = {}
    for name, value in data.items():
        plain_name(name)
        size, mtime, inode, mode = (int(number) for number in value["stat"])
        result[name] = Entry(str(value["sha256"]), bool(value["owned"]), (size, mtime, inode, mode))
    return result


def dump(manifest: Manifest) -> bytes:
    """Render the manifest as JSON."""
    data = {
        "format": FORMAT,
        "gpu_arch": manifest.arch,
        "source": manifest.source,
        "directory_mtime_ns": manifest.directory_mtime_ns,
        "mismatch_allowed": manifest.mismatch_allowed,
        "files": {name: entry._asdict() for name, entry in sorted(manifest.files.items())},
        "catalogs": {name: entry._asdict() for name, entry in sorted(manifest.catalogs.items())},
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def plain_name(name: str) -> None:
    """Refuse a name that is not a plain file name: these files decide what is renamed and removed."""
    if not name or "/" in name or name in (".", "..") or name.startswith(names.PRIVATE) or "\0" in name:
        raise ValueError(f"the file name {name!r}")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a small private JSON object; None when there is none; ValueError when damaged."""
    raw = _read(path)
    if raw is None:
        return None
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    return data


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RocblasError(f"{path}: cannot be read: {error.strerror}.") from None
    with os.fdopen(fd, "rb") as stream:
        return stream.read(MAX_MANIFEST)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of ours so that it is there as a whole or not at all, and on the disk on return."""
    scratch = path.with_name(path.name + ".new")
    try:
        if scratch.is_symlink() or scratch.exists():
            scratch.unlink()
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            os.fchmod(fd, 0o644)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        scratch.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        if scratch.exists():
            scratch.unlink()
        raise unwritable(path, error) from None
