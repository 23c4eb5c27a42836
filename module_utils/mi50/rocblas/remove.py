"""state: absent: what was there before, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import journal, names
from . import manifest as records
from .drift import intact
from .report import Change, result
from .request import Request


def absent(request: Request, library: Path) -> dict[str, Any]:
    """Take our files out and the backup back in; files a package has put there since are left alone."""
    record = records.load(library)
    backup = library / names.BACKUP
    if record is None:
        return result(library, {}, Change(), {}, {})
    saved = sorted(path.name for path in backup.iterdir()) if backup.is_dir() else []
    kept, drop, restore = [], [], []
    for name in sorted({*record.files, *saved}):
        entry, path = record.files.get(name), library / name
        there = os.path.lexists(path)
        if there and (entry is None or not entry.owned or not intact(path, entry)):
            kept.append(name)  # not ours any more: a package put its own file there
        elif name in saved:
            restore.append(name)
        elif there:
            drop.append(name)
    current = {name: (library / name).lstat().st_size for name in [*drop, *restore] if os.path.lexists(library / name)}
    after = {name: (backup / name).lstat().st_size for name in restore}
    change = Change(
        [name for name in restore if name not in current], [name for name in restore if name in current], drop, kept
    )
    if not request.check_mode:
        index = names.lazy_index(record.arch)
        moves = journal.Moves(True, index, [], [], drop, restore, record.directory_mtime_ns)
        journal.commit(library, moves)
    outcome = result(library, record.source, change, current, after)
    outcome["changed"] = True
    return outcome
