"""What is known of a fetched file, kept beside it, so that an unchanged run costs a stat instead of hashing it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".fetched.json"
_CHUNK = 1 << 20
_MAX_RECORD = 1 << 16


class Record(NamedTuple):
    """Where a file came from and what it is; `size` in bytes, `mtime_ns` as the file had it when it was hashed."""

    url: str
    sha256: str
    size: int
    mtime_ns: int


def record_path(path: Path) -> Path:
    """Return where the record of a file lies."""
    return path.with_name(path.name + SUFFIX)


def load(path: Path) -> Record | None:
    """Return the record of a file; None when there is none or it is damaged: then the file is judged anew."""
    try:
        with record_path(path).open(encoding="utf-8") as stream:
            data = json.loads(stream.read(_MAX_RECORD))
        return Record(str(data["url"]), str(data["sha256"]), int(data["size"]), int(data["mtime_ns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, record: Record) -> None:
    """Write the record of a file, as a whole or not at all."""
    scratch = record_path(path).with_name(f".{path.name}{SUFFIX}.new")
    scratch.write_text(json.dumps(record._asdict()) + "\n", encoding="utf-8")
    scratch.chmod(0o644)
    scratch.replace(record_path(path))


def forget(path: Path) -> None:
    """Remove a file and its record."""
    for victim in (path, record_path(path)):
        with contextlib.suppress(FileNotFoundError):
            victim.unlink()


def status(path: Path) -> os.stat_result | None:
    """Stat a regular file; None for nothing or anything else. A link is followed: a cache may be one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(_CHUNK)
            if not block:
                return digest.hexdigest()
            digest.update(block)
