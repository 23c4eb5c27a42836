"""A mirror as one directory: taken along (export) and taken over (import), resumed, every byte proven on arrival."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from .errors import MirrorError
from .store import MANIFEST, Store, write

_CHUNK = 1 << 20
_RESERVE = 64 << 20


def copy(source: Store, target: Store) -> dict[str, Any]:
    """Copy everything the source's manifest names; return counts. Raises one MirrorError with all that is wrong.

    Nothing is copied from a source that lacks a file; a file that is there already with the right digest stays. The
    manifest is written last: after an interruption the copy is taken up where it stopped.
    """
    if not source.items:
        raise MirrorError(f"{source.root}: holds no mirror ({MANIFEST} is missing or empty). Name the exported folder.")
    wrong = source.wrong(every_byte=False)
    if wrong:
        raise MirrorError(
            f"{source.root}: {len(wrong)} files are missing or incomplete: {'; '.join(wrong)}. Copy them again from "
            "where the mirror was exported; nothing was changed here."
        )
    todo = [relative for relative in sorted(source.files) if not _there(target, relative, source.files[relative])]
    _space(target.root, sum(int(source.files[relative]["size"]) for relative in todo))
    broken = []
    for relative in todo:
        found = _one(source.root / relative, target.root / relative, source.files[relative]["sha256"])
        if found:
            broken.append(f"{relative}: {found}")
    if broken:
        raise MirrorError(
            f"{source.root}: {len(broken)} files are not what its manifest says: {'; '.join(broken)}. The medium or "
            "the copy is damaged: copy them again; the mirror here goes on with what it had."
        )
    changed = bool(todo) or any(target.items.get(name) != item for name, item in source.items.items())
    for relative, entry in source.files.items():
        status = (target.root / relative).stat()
        target.files[relative] = {**entry, "mtime_ns": status.st_mtime_ns}
    target.items.update({name: dict(item) for name, item in source.items.items()})
    if changed:
        target.save()
    return {
        "copied": len(todo),
        "unchanged": len(source.files) - len(todo),
        "bytes": sum(int(source.files[relative]["size"]) for relative in todo),
        "changed": changed,
    }


def seal(store: Store) -> str:
    """Write the manifest's own digest beside it and return it: compare it where the folder arrives."""
    digest = hashlib.sha256((store.root / MANIFEST).read_bytes()).hexdigest()
    write(store.root / f"{MANIFEST}.sha256", f"{digest}  {MANIFEST}\n")
    return digest


def check_seal(root: Path, expected: str) -> str:
    """Return the manifest's digest. Raises MirrorError when it is not the expected one."""
    try:
        digest = hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise MirrorError(f"{root / MANIFEST}: cannot be read: {error.strerror}. Name the exported folder.") from None
    if expected and digest != expected.lower():
        raise MirrorError(f"{root / MANIFEST}: its sha256 is {digest}, expected {expected}: this is another export.")
    return digest


def _there(target: Store, relative: str, entry: dict[str, Any]) -> bool:
    path = target.root / relative
    try:
        if path.stat().st_size != entry["size"]:
            return False
    except OSError:
        return False
    return target.has(path, entry["sha256"])


def _space(folder: Path, need: int) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if need + _RESERVE > free:
        raise MirrorError(
            f"{folder}: {need / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; nothing was copied. Free space, "
            "or set artifact_mirror_dir to a larger disk."
        )


def _one(source: Path, target: Path, sha256: str) -> str:
    """Copy one file through a temporary name; return what is wrong with it, empty for nothing. Raises MirrorError."""
    part = target.with_name(f".{target.name}.part")
    value = hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as stream, part.open("wb") as out:
            while True:
                piece = stream.read(_CHUNK)
                if not piece:
                    break
                out.write(piece)
                value.update(piece)
            out.flush()
            os.fsync(out.fileno())
        if value.hexdigest() != sha256:
            part.unlink()
            return f"sha256 is {value.hexdigest()}"
        part.chmod(0o644)
        part.replace(target)
    except OSError as error:
        if part.exists():
            part.unlink()
        if error.errno == errno.EIO:
            return f"cannot be read: {error.strerror}"
        raise MirrorError(f"{target}: cannot be written: {error.strerror}. Free space and run again.") from None
    return ""
