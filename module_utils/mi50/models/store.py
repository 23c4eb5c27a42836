"""The one folder of a node with all its models: what is there, whole and proven, and what nobody asks for.

STORE/NAME/…          the files of a model; engines read them there
STORE/NAME/.mi50-model.json   what they are (name, origin, size, sha256 and mtime of each)
STORE/.incoming/NAME/…        a model on its way; it takes its place as a whole, so that no engine ever sees half of one
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ModelError

DEFAULT = Path("/var/lib/mi50-aipc/models")
MANIFEST = ".mi50-model.json"
INCOMING = ".incoming"
_LOCK = ".lock"
_MAX_MANIFEST = 16 << 20


class Stored(NamedTuple):
    """One file as it was proven: path within the model, sha256, bytes, and the mtime it had (ns)."""

    path: str
    sha256: str
    size: int
    mtime_ns: int


class Entry(NamedTuple):
    """One model that is there: `identity` says what was asked for, `origin` where it came from."""

    name: str
    identity: str
    origin: dict[str, str]
    files: tuple[Stored, ...]

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.size for file in self.files)


def load(store: Path, name: str) -> Entry | None:
    """Return what is recorded of a model; None when there is none, or its record is damaged."""
    try:
        with (store / name / MANIFEST).open(encoding="utf-8") as stream:
            data: dict[str, Any] = json.loads(stream.read(_MAX_MANIFEST))
        files = tuple(
            Stored(str(one["path"]), str(one["sha256"]), int(one["size"]), int(one["mtime_ns"]))
            for one in data["files"]
        )
        return Entry(str(data["name"]), str(data["identity"]), dict(data["origin"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(folder: Path, entry: Entry) -> None:
    """Record what a folder holds, as a whole or not at all. Raises OSError."""
    data = {**entry._asdict(), "files": [file._asdict() for file in entry.files]}
    scratch = folder / f"{MANIFEST}.new"
    scratch.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    scratch.chmod(0o644)
    scratch.replace(folder / MANIFEST)


def names(store: Path) -> list[str]:
    """Return the names of everything in the store, recorded or not."""
    try:
        return sorted(path.name for path in store.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def wrong(store: Path, entry: Entry) -> list[str]:
    """Say which files of a model are not as they were proven, by a look at each, without reading them."""
    found = []
    for file in entry.files:
        try:
            status = (store / entry.name / file.path).stat()
        except OSError:
            found.append(f"{file.path} is missing")
            continue
        if status.st_size != file.size:
            found.append(f"{file.path} has {status.st_size} bytes instead of {file.size}")
        elif status.st_mtime_ns != file.mtime_ns:
            found.append(f"{file.path} was written to")
    return found


def settled(store: Path, name: str, identity: str) -> bool:
    """Tell whether a model is there as asked for, by a look at each of its files."""
    entry = load(store, name)
    return entry is not None and entry.identity == identity and not wrong(store, entry)


def by_digest(store: Path) -> dict[tuple[str, int], Path]:
    """Return a sound file of the store for each digest and size: what is here twice is stored once."""
    known: dict[tuple[str, int], Path] = {}
    for name in names(store):
        entry = load(store, name)
        if entry is None:
            continue
        bad = {text.split(" ", 1)[0] for text in wrong(store, entry)}
        for file in entry.files:
            if file.path not in bad:
                known.setdefault((file.sha256, file.size), store / name / file.path)
    return known


def unused(store: Path, wanted: set[str]) -> list[dict[str, Any]]:
    """Return what the store holds that nobody asks for, with its bytes, half-fetched models included."""
    found = []
    for name in names(store):
        if name not in wanted:
            found.append({"name": name, "bytes": usage(store / name), "path": str(store / name)})
    for path in sorted((store / INCOMING).glob("*")):
        if path.name not in wanted:
            found.append({"name": path.name, "bytes": usage(path), "path": str(path)})
    return found


def usage(path: Path) -> int:
    """Return the bytes below a path that would be freed with it: a file that another model shares does not count."""
    total = 0
    for folder, dummy, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - a walk over many files
                total += status.st_size if status.st_nlink == 1 else 0
    if path.is_file():
        total = path.stat().st_size
    return total


def users(store: Path, name: str, root: Path = Path("/")) -> list[str]:
    """Return the units and settings of engines that name a model of the store."""
    place = str(store / name)
    paths = [*(root / "etc/systemd/system").glob("mi50-*.service"), *(root / "etc/mi50-aipc").rglob("*")]
    found = []
    for path in sorted(paths):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file() and path.stat().st_size < _MAX_MANIFEST:
                text = path.read_text(encoding="utf-8")
                if any(
                    text.startswith((f"{place}/", f"{place}\n", f'{place}"', f"{place} "), at)
                    for at in _at(text, place)
                ):
                    found.append(str(path))
    return found


def remove(store: Path, name: str, root: Path = Path("/")) -> bool:
    """Remove a model, and what is half-fetched of it. Raises ModelError while an engine is set up with it."""
    if "/" in name or name.startswith(".") or not name:
        raise ModelError(f"{name!r} is no name of a model.")
    serving = users(store, name, root)
    if serving:
        raise ModelError(
            f"{name}: is used by {', '.join(serving)}. Give that engine another model, or remove it, before the model."
        )
    there = [path for path in (store / name, store / INCOMING / name) if path.exists() or path.is_symlink()]
    for path in there:
        # Out of sight first: an engine that starts now finds all of it or nothing.
        grave = store / f".removed-{name}"
        shutil.rmtree(grave, ignore_errors=True)
        path.rename(grave)
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave)
        else:
            grave.unlink()
    return bool(there)


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the store; a second run waits until the first is done. Raises ModelError when it cannot be made."""
    try:
        store.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(store / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ModelError(f"{store}: cannot be written: {error.strerror}. Run as root (become).") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _at(text: str, place: str) -> Iterator[int]:
    at = text.find(place)
    while at >= 0:
        yield at
        at = text.find(place, at + 1)
