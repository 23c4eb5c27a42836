"""What dpkg leaves when it is killed while it unpacks: files under names that it would have changed at the end.

It extracts `x` as `x.dpkg-new` and keeps the one before as `x.dpkg-tmp` (dpkg 1.21, src/main/archives.c). A package
that is unpacked again cleans up after itself, one that is unpacked in another version, or removed, does not.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock")
# Where packages put files. Not /var: containers keep whole systems there.
ROOTS = ("boot", "etc", "lib", "opt", "usr")
_ENDINGS = (".dpkg-new", ".dpkg-tmp")


def sweep(root: Path, since: float) -> int:
    """Remove what was left since a time (seconds since 1970), and folders that only held that; return how many files.

    For a moment when every package is whole: then no such name is anybody's. Nothing while somebody works with dpkg.
    """
    with _held(root) as ours:
        if not ours:
            return 0
        gone = [path for name in ROOTS for path in list(_left(root / name, since))]
        for path in gone:
            path.unlink()
        _prune({path.parent for path in gone}, root)
        return len(gone)


@contextmanager
def _held(root: Path) -> Iterator[bool]:
    """Hold dpkg's locks; false when somebody else does."""
    with ExitStack() as stack:
        try:
            for name in LOCKS:
                if (root / name).exists():
                    stream = stack.enter_context((root / name).open("rb+"))
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _left(folder: Path, since: float) -> Iterator[Path]:
    """Files of these names below a folder whose inode was changed since then; links are not followed."""
    if folder.is_symlink():
        return
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _left(Path(entry.path), since)
        elif entry.name.endswith(_ENDINGS) and _recent(entry, since):
            yield Path(entry.path)


def _recent(entry: os.DirEntry[str], since: float) -> bool:
    seen = entry.stat(follow_symlinks=False)
    return (stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode)) and seen.st_ctime >= since - 1


def _prune(folders: set[Path], root: Path) -> None:
    """Remove folders that are empty now and that no package has, from the deepest up."""
    owned = _owned(root) if folders else set()
    for start in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        for folder in (start, *start.parents):
            if folder == root or f"/{folder.relative_to(root)}" in owned or not _empty(folder):
                break
            folder.rmdir()


def _owned(root: Path) -> set[str]:
    """Every path that a package has."""
    found: set[str] = set()
    for path in (root / "var/lib/dpkg/info").glob("*.list"):
        found.update(path.read_text(encoding="utf-8", errors="replace").splitlines())
    return found


def _empty(path: Path) -> bool:
    """Whether it is a folder with nothing inside."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False
