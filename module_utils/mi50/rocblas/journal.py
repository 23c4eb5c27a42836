"""Move a staged set into place, or take it out, so that a kill at any point is finished by the next run.

Everything that needs space or may be refused happens before the journal is written; after that there are only renames
and removals in one directory, each of which may be repeated. The lazy index goes first and comes back last: rocBLAS
opens it before anything else, so a half-moved set is never loaded, it is not found.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import names
from .errors import RocblasError
from .manifest import plain_name, read_json, write_private
from .stage import discard, sync_directory, unwritable

BACKUP_MODE = 0o755


class Moves(NamedTuple):
    """Names by what happens to them; `displace` goes to the backup, `drop` is our own older copy.

    With `undo`: `drop` is removed, `restore` comes back from the backup, the rest of the backup is thrown away.
    """

    undo: bool
    lazy_index: str
    install: list[str]
    displace: list[str]
    drop: list[str]
    restore: list[str]
    directory_mtime_ns: int | None


@contextlib.contextmanager
def locked(library: Path) -> Iterator[None]:
    """Hold the library against a second run; the lock is on the directory itself: no file is left behind."""
    try:
        fd = os.open(library, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RocblasError(f"{library}: cannot be opened: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RocblasError(
            f"{library}: another run is patching it at this moment. Wait for it and run again."
        ) from None
    except OSError as error:
        os.close(fd)
        raise RocblasError(f"{library}: its file system cannot lock ({error.strerror}); use a local one.") from None
    try:
        yield
    finally:
        os.close(fd)


def pending(library: Path) -> bool:
    """True when a killed run left something to finish or to clear."""
    return any(os.path.lexists(library / name) for name in (names.JOURNAL, names.STAGING))


def commit(library: Path, moves: Moves) -> None:
    """Write the journal and carry it out."""
    backup = library / names.BACKUP
    made = bool(moves.displace) and not backup.is_dir()
    try:
        if made:
            discard(backup)
            backup.mkdir(mode=BACKUP_MODE)
        write_private(library / names.JOURNAL, (json.dumps(moves._asdict()) + "\n").encode())
    except (OSError, RocblasError) as error:
        if made:
            discard(backup)
        raise error if isinstance(error, RocblasError) else unwritable(backup, error) from None
    _carry_out(library, moves)


def recover(library: Path) -> str:
    """Finish what a killed run began; return what was done, empty for nothing."""
    path = library / names.JOURNAL
    for scratch in (names.JOURNAL, names.MANIFEST):
        discard(library / f"{scratch}.new")
    try:
        data = read_json(path)
        moves = None if data is None else _moves(data)
    except (ValueError, KeyError, TypeError) as error:
        raise RocblasError(
            f"{path}: damaged ({error}). Re-install rocBLAS or torch there, remove {names.PRIVATE}*, and run again."
        ) from None
    if moves is not None:
        _carry_out(library, moves)
        return "finished an interrupted " + ("removal" if moves.undo else "installation")
    with contextlib.suppress(OSError):
        (library / names.BACKUP).rmdir()  # made, but killed before the journal that would have filled it
    if os.path.lexists(library / names.STAGING):
        discard(library / names.STAGING)
        return "cleared the staging directory of an interrupted run"
    return ""


def _moves(data: dict[str, Any]) -> Moves:
    moves = Moves(**data)
    for listing in (moves.install, moves.displace, moves.drop, moves.restore, [moves.lazy_index]):
        for name in listing:
            plain_name(name)
    return moves


def _carry_out(library: Path, moves: Moves) -> None:
    try:
        if moves.undo:
            _undo(library, moves)
        else:
            _install(library, moves)
        sync_directory(library)
        (library / names.JOURNAL).unlink()
        if moves.undo and moves.directory_mtime_ns is not None:
            os.utime(library, ns=(moves.directory_mtime_ns, moves.directory_mtime_ns))
        sync_directory(library)
    except OSError as error:
        raise RocblasError(
            f"{library}: interrupted at {error.filename}: {error.strerror}. gfx906 kernels are switched off until the "
            "next run, which finishes; remove the cause and run again."
        ) from None


def _install(library: Path, moves: Moves) -> None:
    """Each step looks at what is there, so that it can be repeated after a kill."""
    staging, backup = library / names.STAGING, library / names.BACKUP
    if not staging.is_dir():
        return  # its removal was the last step
    leaving = _index_first([*moves.displace, *moves.drop], moves.lazy_index)
    if moves.lazy_index not in leaving and moves.lazy_index not in moves.install:
        _move(library / moves.lazy_index, staging / moves.lazy_index)
    incoming = set(moves.install)
    for name in leaving:
        # A staged file that is gone has been installed: what lies in the library is already the new one.
        if os.path.lexists(library / name) and (name not in incoming or os.path.lexists(staging / name)):
            if name in moves.drop:
                (library / name).unlink()
            else:
                (library / name).replace(backup / name)
    sync_directory(library)
    for name in [entry for entry in moves.install if entry != moves.lazy_index]:
        _move(staging / name, library / name)
    _move(staging / names.MANIFEST, library / names.MANIFEST)
    sync_directory(library)
    _move(staging / moves.lazy_index, library / moves.lazy_index)
    discard(staging)


def _undo(library: Path, moves: Moves) -> None:
    backup = library / names.BACKUP
    coming_back = set(moves.restore)
    for name in _index_first([*moves.drop, *moves.restore], moves.lazy_index):
        if os.path.lexists(library / name) and (name not in coming_back or os.path.lexists(backup / name)):
            discard(library / name)
    sync_directory(library)
    for name in [entry for entry in moves.restore if entry != moves.lazy_index]:
        _move(backup / name, library / name)
    if moves.lazy_index in coming_back:
        _move(backup / moves.lazy_index, library / moves.lazy_index)
    discard(backup)
    discard(library / names.STAGING)
    discard(library / names.MANIFEST)


def _index_first(listing: list[str], index: str) -> list[str]:
    return sorted(listing, key=lambda name: (name != index, name))


def _move(source: Path, target: Path) -> None:
    if os.path.lexists(source):
        source.replace(target)
