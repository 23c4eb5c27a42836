"""The content-keyed cache: a result is named after its inputs and appears whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.console import say

CHUNK = 1 << 20


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            value.update(chunk)
    return value.hexdigest()


def key(*inputs: str | Path) -> str:
    """Twelve hex digits over strings and the contents (and relative names) of files and folders."""
    value = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            value.update(f"text {item}\0".encode())
            continue
        files = sorted(p for p in item.rglob("*") if p.is_file()) if item.is_dir() else [item]
        for path in files:
            if "__pycache__" not in path.parts:
                value.update(f"file {path.relative_to(item.parent)} {file_digest(path)}\0".encode())
    return value.hexdigest()[:12]


def build(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return folder/name, made first when missing: `make` fills a temporary path that gets its name at the end."""
    target = folder / name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    # Served by an unprivileged nginx: the folder that mkdtemp makes is private.
    scratch.chmod(0o755)
    try:
        make(scratch / name)
        try:
            (scratch / name).rename(target)
        except OSError:
            if not target.exists():  # else somebody was quicker: the same name is the same content
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def prune(folder: Path, keep: Path, pattern: str) -> None:
    """Remove results of older recipes, so that the cache does not grow with every change."""
    for path in folder.glob(pattern):
        if path != keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One builder at a time: a second one waits and then finds everything made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab command is building; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
