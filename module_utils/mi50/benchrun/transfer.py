"""Getting a run's files home while it goes on: what is new since last time, in pieces that fit a module's answer.

JSONL files only grow, and the raw files are written once; so a file is sent from where the controller's copy ends,
and whole when that copy is not its beginning.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PIECE = 4 << 20  # bytes of files in one answer
_LOCK = ".collecting"
_NOT_SENT = ("progress.json", "run.json", _LOCK)

Have = dict[str, dict[str, Any]]


class TransferError(Exception):
    """A piece that does not fit what is there, or a name that leads elsewhere."""


def inventory(folder: Path) -> Have:
    """Return size and SHA-256 of every file below a folder, by relative path."""
    return {name: {"size": path.stat().st_size, "sha256": _digest(path)} for name, path in _files(folder)}


def pieces(folder: Path, have: Have, limit: int = PIECE) -> dict[str, Any]:
    """Return `{"pieces": [{"path", "offset", "data"}], "more"}`: what a copy that is like `have` lacks."""
    found: list[dict[str, Any]] = []
    left = limit
    for name, path in _files(folder):
        size = path.stat().st_size
        known = have.get(name, {"size": 0, "sha256": ""})
        offset = known["size"]
        if offset > size or (offset and _digest(path, offset) != known["sha256"]):
            offset = 0
        elif offset == size and name in have:
            continue
        if left <= 0:
            return {"pieces": found, "more": True}
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(left)
        # A line that is being written comes with the next call.
        if name.endswith(".jsonl") and offset + len(data) >= size:
            data = data[: data.rfind(b"\n") + 1]
            if not data and offset:
                continue
        left -= len(data)
        found.append({"path": name, "offset": offset, "data": base64.b64encode(data).decode()})
        if offset + len(data) < size and left <= 0:
            return {"pieces": found, "more": True}
    return {"pieces": found, "more": False}


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the controller's copy: two calls that work on the same run bring things home one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def receive(folder: Path, piece: dict[str, Any]) -> None:
    """Write one piece into the controller's copy, durably. Raises TransferError.

    A JSONL file that a node has begun anew (it was rebuilt) does not replace what was measured before: the old one
    keeps its cells under another name.
    """
    target = _inside(folder, piece["path"])
    data, offset = base64.b64decode(piece["data"]), piece["offset"]
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.stat().st_size if target.exists() else 0
    if offset not in (0, there):
        raise TransferError(f"{target} has {there} bytes, a piece for {offset} came")
    if offset == 0 and there and target.suffix == ".jsonl":
        target.rename(_free(target))
    with target.open("ab" if offset else "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _free(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.stem}.earlier-{number}{path.suffix}")).exists():
        number += 1
    return found


def _inside(folder: Path, name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise TransferError(f"{name!r} is not a path inside the run's folder")
    return folder / path


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name not in _NOT_SENT and ".earlier-" not in name:
            yield name, path


def _digest(path: Path, length: int = -1) -> str:
    value = hashlib.sha256()
    with path.open("rb") as stream:
        left = length if length >= 0 else path.stat().st_size
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            value.update(block)
            left -= len(block)
    return value.hexdigest()
