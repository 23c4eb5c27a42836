"""The generations of the shared environment: numbered venvs, of which one is in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import dists, records
from .model import Wanted, packages
from .venv import remove


def every(asked: Wanted) -> list[Path]:
    """All generations, finished or not, the newest last."""
    if not asked.store.is_dir():
        return []
    found = (path for path in asked.store.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(found, key=_number)


def free_name(asked: Wanted) -> Path:
    """A path nobody has had: torch's version and a number."""
    stem = next(iter(asked.pins.values()), "none").replace("+", "-")
    number = 1 + max((_number(path) for path in every(asked)), default=0)
    return asked.store / f"{stem}.{number}"


def _number(path: Path) -> int:
    last = path.name.rpartition(".")[2]
    return int(last) if last.isdigit() else 0


def ready(asked: Wanted, used: Path | None) -> Path | None:
    """A finished generation that is what is asked for and was not touched since; not the one in use."""
    for path in reversed(every(asked)):
        record = records.generation_record(path)
        if path == used or record is None or records.differences(record, asked):
            continue
        if not records.triton_difference(record, asked) and _untouched(path, record):
            return path
    return None


def _untouched(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether nobody installed anything over torch or triton since."""
    site = packages(path)
    return bool(dists.watched(site, dists.installed(site)) == record["watched"])


def prune(asked: Wanted, used: Path | None, keep: int, but: Path | None = None) -> list[str]:
    """Remove generations: those never finished, spoiled ones, and whole ones beyond the `keep` newest not in use."""
    gone = []
    spare = 0
    for path in reversed(every(asked)):
        if path in (used, but):
            continue
        record = records.generation_record(path)
        if record is not None and spare < keep and _untouched(path, record):
            spare += 1
            continue
        remove(path)
        gone.append(str(path))
    if not gone and used is None and asked.store.is_dir() and not any(asked.store.iterdir()):
        asked.store.rmdir()
    return gone
