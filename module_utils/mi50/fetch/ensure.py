"""Have files on this machine: look what is there, say what is missing, and only then fetch."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import record as records
from .download import RETRIES, TIMEOUT_S, Wanted, download
from .errors import FetchError, mask
from .partial import unwritable
from .record import Record

FOLDER_MODE = 0o755


class Need(NamedTuple):
    """What one file needs: nothing (`why` empty and `mode` false), another mode, or to be fetched (`why` says so)."""

    wanted: Wanted
    known: Record | None
    why: str
    mode: bool


def ensure(
    files: Sequence[Wanted],
    *,
    check_mode: bool = False,
    timeout: float = TIMEOUT_S,
    retries: int = RETRIES,
    watch: Callable[[Wanted, int], None] = lambda wanted, size: None,
) -> dict[str, Any]:
    """Have every file; return the module's result. `timeout` in seconds. Raises FetchError.

    `watch` is told of a file that is being fetched, and how many of its bytes are there.

    No address is asked when all files are there. In check mode nothing is written and no address is asked at all.
    """
    _distinct(files)
    needs = [look(wanted, write=not check_mode) for wanted in files]
    results = [_apply(need, check_mode, timeout, retries, watch) for need in needs]
    listing = [(f"{mask(need.wanted.url)} -> {need.wanted.dest} ({need.why})\n", need) for need in needs]
    return {
        "changed": any(result["changed"] for result in results),
        "files": results,
        "bytes_received": sum(result["bytes_received"] for result in results),
        "diff": {"before": "", "after": "".join(text for text, need in listing if need.why)},
    }


def look(wanted: Wanted, *, write: bool = True) -> Need:
    """Judge one file by its record, or by its bytes where the record does not fit; `write` may renew the record."""
    found = records.status(wanted.dest)
    if found is None:
        if wanted.dest.exists() or wanted.dest.is_symlink():
            raise FetchError(f"{wanted.dest}: there is something, but no plain file. Move it away.")
        return Need(wanted, None, "missing", False)
    known = records.load(wanted.dest)
    fresh = known is not None and (known.size, known.mtime_ns) == (found.st_size, found.st_mtime_ns)
    if wanted.size is not None and wanted.size != found.st_size:
        return Need(wanted, None, f"{found.st_size} bytes instead of {wanted.size}", False)
    if not wanted.sha256 and (known is None or known.url != wanted.url):
        return Need(wanted, None, "from another address" if known else "from an unknown address", False)
    expected = wanted.sha256.lower() if wanted.sha256 else known.sha256 if known else ""
    if known is None or not fresh:
        try:
            known = Record(wanted.url, records.sha256_of(wanted.dest), found.st_size, found.st_mtime_ns)
        except OSError as error:
            raise FetchError(
                f"{wanted.dest}: cannot be read: {error.strerror}. Run as the user that owns it."
            ) from None
    if known.sha256 != expected:
        return Need(wanted, None, f"sha256 {known.sha256[:12]}… instead of {expected[:12]}…", False)
    if write and (not fresh or known.url != wanted.url):
        known = known._replace(url=wanted.url)
        _save(wanted.dest, known)
    return Need(wanted, known, "", stat.S_IMODE(found.st_mode) != wanted.mode)


def _apply(
    need: Need, check_mode: bool, timeout: float, retries: int, watch: Callable[[Wanted, int], None]
) -> dict[str, Any]:
    wanted, known, received = need.wanted, need.known, 0
    if need.why and not check_mode:
        try:
            wanted.dest.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(wanted.dest.parent, error) from None
        known, received = download(wanted, timeout, retries, watch=lambda size: watch(wanted, size))
        _save(wanted.dest, known)
    elif need.mode and not check_mode:
        try:
            wanted.dest.chmod(wanted.mode)
        except OSError as error:
            raise unwritable(wanted.dest, error) from None
    return {
        "dest": str(wanted.dest),
        "url": mask(wanted.url),
        "changed": bool(need.why) or need.mode,
        "fetched": bool(need.why),
        "sha256": known.sha256 if known else None,
        "size": known.size if known else None,
        "bytes_received": received,
    }


def _save(path: Path, record: Record) -> None:
    try:
        records.save(path, record)
    except OSError as error:
        raise unwritable(records.record_path(path), error) from None


def _distinct(files: Sequence[Wanted]) -> None:
    seen: set[Path] = set()
    for wanted in files:
        if wanted.dest in seen:
            raise FetchError(f"{wanted.dest}: named twice as dest.")
        seen.add(wanted.dest)
