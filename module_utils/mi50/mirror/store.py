"""The mirror's folder: what is served, and the manifest that says what every file has to be.

`www/` is served over HTTP, `registry/` by docker-registry; `manifest.json` is written last, in one step, so that a fill
or an import that was killed leaves the last whole state described, and its files are found again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..fetch.record import sha256_of
from .errors import MirrorError

FORMAT = 1
MANIFEST = "manifest.json"
_ITEM_KEYS = {"kind", "what", "values", "files"}


class Store:
    """A mirror's folder and its manifest."""

    def __init__(self, root: Path) -> None:
        """Read the manifest; a folder without one is an empty mirror. Raises MirrorError for one that is damaged."""
        self.root = root
        self.www = root / "www"
        self.registry = root / "registry"
        self.items: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        path = root / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise MirrorError(f"{path}: cannot be read: {error}.") from None
        self.items, self.files = parse(text, str(path))

    def relative(self, path: Path) -> str:
        """Return a file's name in the manifest."""
        return path.relative_to(self.root).as_posix()

    def known(self, path: Path) -> dict[str, Any] | None:
        """Return what the manifest says of a file that is there with the right size."""
        entry = self.files.get(self.relative(path))
        try:
            return entry if entry and path.stat().st_size == entry["size"] else None
        except OSError:
            return None

    def has(self, path: Path, sha256: str = "") -> bool:
        """Whether a file is there and is this one: by the manifest and its size, or by its bytes when it has none.

        A file that nobody can tell the digest of counts only when the manifest has it.
        """
        entry = self.known(path)
        if entry:
            return not sha256 or bool(entry["sha256"] == sha256)
        return bool(sha256) and path.is_file() and sha256_of(path) == sha256

    def whole(self, name: str) -> bool:
        """Whether all files of an item are there, looked at by size."""
        item = self.items.get(name)
        return bool(item and all(self.known(self.root / relative) for relative in item["files"]))

    def put(
        self, name: str, kind: str, what: Mapping[str, Any], values: Mapping[str, Any], paths: Iterable[Path]
    ) -> None:
        """Describe an item that is whole now: digests of its files are taken here, of those that are new."""
        files = sorted({self.relative(path) for path in paths})
        for relative in files:
            path = self.root / relative
            if self.known(path) is None or path.stat().st_mtime_ns != self.files[relative].get("mtime_ns"):
                status = path.stat()
                self.files[relative] = {
                    "size": status.st_size,
                    "sha256": sha256_of(path),
                    "mtime_ns": status.st_mtime_ns,
                }
        self.items[name] = {"kind": kind, "what": dict(what), "values": dict(values), "files": files}
        self.save()

    def save(self) -> None:
        """Write the manifest in one step; files that no item has any more are left out of it."""
        used = {relative for item in self.items.values() for relative in item["files"]}
        self.files = {relative: entry for relative, entry in self.files.items() if relative in used}
        data = {"format": FORMAT, "items": self.items, "files": self.files}
        write(self.root / MANIFEST, json.dumps(data, indent=1, sort_keys=True) + "\n")

    def wrong(self, names: Iterable[str] | None = None, *, every_byte: bool) -> list[str]:
        """Say of each file of the items (all) what is wrong with it: missing, another size, other bytes."""
        chosen = self.items if names is None else {name: self.items[name] for name in names if name in self.items}
        found = []
        for relative in sorted({relative for item in chosen.values() for relative in item["files"]}):
            path, entry = self.root / relative, self.files[relative]
            if not path.is_file():
                found.append(f"{relative}: missing")
            elif path.stat().st_size != entry["size"]:
                found.append(f"{relative}: {path.stat().st_size} bytes instead of {entry['size']}")
            elif every_byte and sha256_of(path) != entry["sha256"]:
                found.append(f"{relative}: sha256 is not {entry['sha256']}")
        return found

    def size(self) -> int:
        """Bytes of all files that the manifest knows."""
        return sum(int(entry["size"]) for entry in self.files.values())


def parse(text: str, where: str) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return items and files of a manifest. Raises MirrorError for one that is none, or leads out of its folder."""
    try:
        data = json.loads(text)
        items, files = data["items"], data["files"]
        whole = data["format"] == FORMAT and all(set(item) == _ITEM_KEYS for item in items.values())
        whole = whole and all(relative in files for item in items.values() for relative in item["files"])
        whole = whole and all(isinstance(entry["size"], int) and entry["sha256"] for entry in files.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise MirrorError(
            f"{where}: is no manifest of a mirror (format {FORMAT}). Copy the folder again, or fill it anew."
        )
    for relative in files:
        parts = PurePosixPath(relative).parts
        if relative.startswith("/") or ".." in parts or parts[0] not in ("www", "registry"):
            raise MirrorError(f"{where}: {relative!r} leads out of the mirror's folder. Do not use this folder.")
    return items, files


def write(path: Path, text: str) -> None:
    """Replace a file in one step, readable by the web server. Raises MirrorError."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary and Path(temporary).exists():
            Path(temporary).unlink()
        raise MirrorError(f"{path}: cannot be written: {error.strerror}. Free space, or name another folder.") from None
