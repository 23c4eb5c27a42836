"""A model as an inventory or the catalogue asks for it, checked before anything is asked of anybody."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from .errors import ModelError

SOURCES = ("huggingface", "modelscope", "url", "path")
HUBS = ("huggingface", "modelscope")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(r"[\w][\w./-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KEYS = {"name", "source", "repo", "revision", "url", "path", "files", "include", "check", "summary"}
_FILE_KEYS = {"path", "sha256", "size"}
_CHECK_KEYS = {"context", "slots", "kv_type", "tensor", "pipeline", "windowed"}
# Of a repository without a list of files: what engines read, and not the same weights a second time in another format.
INCLUDE = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")


class File(NamedTuple):
    """One file: its path within the model, and what it has to be where that is known; `blob`: git's name of it."""

    path: str
    sha256: str = ""
    size: int | None = None
    blob: str = ""


class Wanted(NamedTuple):
    """One model. `files` empty: those of the repository that match `include`. `check`: arguments of fit.Ask."""

    name: str
    source: str
    repo: str = ""
    revision: str = ""
    place: str = ""  # an address or a path, for the sources that are one
    files: tuple[File, ...] = ()
    include: tuple[str, ...] = INCLUDE
    check: Mapping[str, Any] = {}

    @property
    def pinned(self) -> bool:
        """Whether what comes is decided by digests, or by a commit that its hub cannot change."""
        return bool(self.files and all(file.sha256 for file in self.files)) or bool(_COMMIT.fullmatch(self.revision))

    @property
    def identity(self) -> str:
        """Name what is wanted: by digests alone where all are known, so that another mirror changes nothing."""
        files: Any = sorted((file.path, file.sha256) for file in self.files)
        whole = [self.source, self.repo, self.revision, self.place, files, [] if self.files else sorted(self.include)]
        what = files if self.files and all(file.sha256 for file in self.files) else whole
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def parse(entries: Sequence[Any], where: str = "models_list") -> list[Wanted]:
    """Return the models of a list. Raises ModelError naming the entry, the value and the way out."""
    wanted = [_one(entry, f"{where}[{at}]") for at, entry in enumerate(entries)]
    seen: set[str] = set()
    for model in wanted:
        if model.name.lower() in seen:
            raise ModelError(f"{where}: the name {model.name!r} is used twice; names are unique, whatever their case.")
        seen.add(model.name.lower())
    return wanted


def _one(entry: Any, where: str) -> Wanted:  # noqa: ANN401 - whatever an inventory holds
    if not isinstance(entry, Mapping):
        raise ModelError(
            f"{where}: {entry!r} is no model: give a name of the catalogue, or a mapping with name and source."
        )
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise ModelError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(sorted(_KEYS))}.")
    name, source = str(entry.get("name") or ""), str(entry.get("source") or "huggingface")
    if not _NAME.fullmatch(name):
        raise ModelError(f"{where}.name: {name!r} is no name: letters, digits, dot, dash, underscore, no slash.")
    if source not in SOURCES:
        raise ModelError(f"{where}.source: {source!r} is none of {', '.join(SOURCES)}.")
    files = tuple(_file(file, f"{where}.files[{at}]") for at, file in enumerate(entry.get("files") or []))
    include = entry.get("include") or INCLUDE
    if isinstance(include, str) or not all(isinstance(pattern, str) for pattern in include):
        raise ModelError(f"{where}.include: {include!r} is no list of patterns such as '*.safetensors'.")
    check = entry.get("check") or {}
    if not isinstance(check, Mapping) or set(check) - _CHECK_KEYS or not isinstance(check.get("context", 1), int):
        raise ModelError(
            f"{where}.check: {check!r}; give context (tokens) and any of {', '.join(sorted(_CHECK_KEYS))}."
        )
    if check and "context" not in check:
        raise ModelError(f"{where}.check: has no context; without one there is nothing to check.")
    repo, revision, place = _place(entry, source, files, where)
    paths = [file.path for file in files]
    if len(set(paths)) != len(paths):
        raise ModelError(f"{where}.files: a path is named twice.")
    return Wanted(name, source, repo, revision, place, files, tuple(include), dict(check))


def _place(entry: Mapping[str, Any], source: str, files: Sequence[File], where: str) -> tuple[str, str, str]:
    repo, revision = str(entry.get("repo") or ""), str(entry.get("revision") or "")
    if source in HUBS:
        if not _REPO.fullmatch(repo):
            raise ModelError(f"{where}.repo: {repo!r} is no repository; it is OWNER/NAME, as in the hub's address.")
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise ModelError(
                f"{where}.revision: {revision!r} is no revision. Name the commit (40 digits, under History on its "
                "page): a branch such as main moves, and two nodes would serve two models."
            )
        return repo, revision, ""
    key = "url" if source == "url" else "path"
    place = str(entry.get(key) or "")
    if source == "url" and not (place.startswith(("http://", "https://", "file:///")) and files):
        raise ModelError(f"{where}.url: {place!r}: give the address of a folder (http, https, file) and its files.")
    if source == "path" and not place.startswith("/"):
        raise ModelError(f"{where}.path: {place!r} is not absolute; it is a file or folder on the node.")
    return "", "", place.rstrip("/")


def _file(given: Any, where: str) -> File:  # noqa: ANN401 - whatever an inventory holds
    if isinstance(given, str):
        given = {"path": given}
    if not isinstance(given, Mapping) or set(given) - _FILE_KEYS:
        raise ModelError(f"{where}: {given!r}: a file is its path, or path with sha256 and size.")
    path, digest, size = str(given.get("path") or ""), str(given.get("sha256") or "").lower(), given.get("size")
    check_path(path, where)
    if digest and not _SHA256.fullmatch(digest):
        raise ModelError(f"{where}.sha256: {digest!r} is no sha256; it has 64 hexadecimal digits.")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise ModelError(f"{where}.size: {size!r} is no number of bytes.")
    return File(path, digest, size)


def check_path(path: str, where: str) -> None:
    """Refuse a path that would leave the model's folder, whoever says it: an inventory or a hub. Raises ModelError."""
    parts = PurePosixPath(path).parts
    if not path or path.startswith("/") or ".." in parts or any(part.startswith(".") for part in parts) or "\0" in path:
        raise ModelError(f"{where}: {path!r} is no path within a model.")
