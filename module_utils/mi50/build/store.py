"""Finished builds in a folder, one subfolder a key, on nodes and on the controller: whole and proven, or not there.

A subfolder holds the artifact and `manifest.json`, which says what it is, from what it was made, and its digests.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import key as keys

MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")

Manifest = dict[str, Any]


class StoreError(Exception):
    """An artifact that is not what its manifest says, or cannot be kept; the text is meant for the user."""


class Store:
    """A folder of builds."""

    def __init__(self, root: Path) -> None:
        """The folder need not exist."""
        self.root = root

    def folder(self, key: str) -> Path:
        """Where the build of a key lies, or would."""
        return self.root / key

    def manifest(self, key: str) -> Manifest | None:
        """Return the manifest of a build, None when there is none or it cannot be read."""
        try:
            found = json.loads((self.folder(key) / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if _sound(found, key) else None

    def problem(self, key: str, *, verify: bool) -> str:
        """Return what is wrong with a build, empty when nothing: `missing`, or which file differs and how.

        Without `verify` sizes are compared, with it every byte is read.
        """
        manifest = self.manifest(key)
        if manifest is None:
            return f"{self.folder(key) / MANIFEST} cannot be used" if self.folder(key).exists() else "missing"
        for file in manifest["files"]:
            path = self.folder(key) / file["name"]
            try:
                size = path.stat().st_size
            except OSError as exc:
                return f"{path}: {exc.strerror}"
            if size != file["size"]:
                return f"{path}: {size} bytes instead of {file['size']}"
            if verify and (found := sha256(path)) != file["sha256"]:
                return f"{path}: sha256 {found} instead of {file['sha256']}"
        return ""

    def place(self, manifest: Manifest, sources: Mapping[str, Path]) -> Path:
        """Keep a build: copy `sources` (by file name), prove them, then give the folder its name. Raises StoreError.

        Whatever was there under that key before is replaced only now, and stays if anything goes wrong.
        """
        key = str(manifest["key"])
        if not _sound(manifest, key):
            raise StoreError(f"the manifest of {key} is not one: a wheel without a sound manifest is not kept")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=f".new-{key[:12]}-", dir=self.root))
        except OSError as exc:
            raise StoreError(f"{self.root}: {exc.strerror}") from exc
        try:
            self._fill(stage, manifest, sources)
            self._swap(stage, key)
        except OSError as exc:
            room = ": make room there" if exc.errno == errno.ENOSPC else ""
            raise StoreError(f"{exc.filename or self.root}: {exc.strerror}{room}") from exc
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        return self.folder(key)

    def _fill(self, stage: Path, manifest: Manifest, sources: Mapping[str, Path]) -> None:
        for file in manifest["files"]:
            target = stage / file["name"]
            _copy(sources[file["name"]], target)
            size, found = target.stat().st_size, sha256(target)
            if (size, found) != (file["size"], file["sha256"]):
                raise StoreError(
                    f"{sources[file['name']]} has {size} bytes and sha256 {found}; the manifest says {file['size']} "
                    f"and {file['sha256']}. Nothing was kept"
                )
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        with (stage / MANIFEST).open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        (stage / MANIFEST).chmod(0o644)
        stage.chmod(0o755)
        _sync(stage)

    def _swap(self, stage: Path, key: str) -> None:
        target = self.folder(key)
        old = Path(f"{stage}.old")
        if target.exists() or target.is_symlink():
            target.rename(old)
        stage.rename(target)
        _sync(self.root)
        shutil.rmtree(old, ignore_errors=True)

    def entries(self, name: str) -> list[Manifest]:
        """Return the manifests of all builds of an artifact, newest first."""
        found = [self.manifest(path.name) for path in self.root.glob("*/") if not path.name.startswith(".")]
        mine = [manifest for manifest in found if manifest is not None and manifest["name"] == name]
        return sorted(mine, key=lambda one: str(one.get("finished")), reverse=True)

    def prune(self, manifest: Manifest, keep: int) -> list[str]:
        """Remove the oldest builds of this lineage beyond `keep` earlier ones; return their keys."""
        like = keys.lineage(manifest["parts"])
        same = [one for one in self.entries(manifest["name"]) if keys.lineage(one["parts"]) == like]
        gone = [one["key"] for one in same if one["key"] != manifest["key"]][max(0, keep) :]
        for key in gone:
            shutil.rmtree(self.folder(key), ignore_errors=True)
        return gone

    def tidy(self) -> None:
        """Remove stages of processes that were killed. Only for a caller that nobody else writes beside."""
        for path in self.root.glob(".new-*"):
            shutil.rmtree(path, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value.update(chunk)
    return value.hexdigest()


def _sound(manifest: object, key: str) -> bool:
    """Whether a manifest is whole, is of this key, and names plain files."""
    if not isinstance(manifest, dict) or manifest.get("key") != key or not isinstance(manifest.get("parts"), dict):
        return False
    files = manifest.get("files")
    if not isinstance(files, list) or not files or not isinstance(manifest.get("name"), str):
        return False
    return keys.digest(manifest["parts"]) == key and all(
        isinstance(file, dict) and _NAME.match(str(file.get("name"))) and len(str(file.get("sha256"))) == 64
        for file in files
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a plain file, durably; a link in its place is refused, for an unprivileged user may have made it."""
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, _CHUNK)
        out.flush()
        os.fsync(out.fileno())
    target.chmod(0o644)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)
