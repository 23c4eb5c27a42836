"""The question `build_once`: does this node have the artifacts it should have; if not, what could it do about it.

Cheap by intent: nothing here runs a program, unless the artifacts are for another Python than the one that asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import facts, store
from . import key as keys

_BUILD = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "parts": {"type": "dict", "required": True},
    "requires_python": {"type": "str", "default": ""},
    "pin": {"type": "str", "default": ""},
}
SPEC: dict[str, dict[str, Any]] = {
    "builds": {"type": "list", "elements": "dict", "required": True, "options": _BUILD},
    "dir": {"type": "path", "default": "/var/cache/mi50-aipc/builds"},
    "work_dir": {"type": "path", "default": "/var/lib/mi50-aipc/build"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
}


class Unanswered(Exception):
    """The node cannot be looked at; the text says why and what to do."""


def answer(options: Mapping[str, Any], *, verify: bool = False) -> dict[str, Any]:
    """Return `{"settled", "builds": {name: …}}`; `options` are valid by SPEC. Raises Unanswered.

    A build that is there has `path`, `sha256`, `size` and `key`; one that is not has only what `look` adds.
    """
    host = _compatibility(options["python"])
    shelf = store.Store(Path(options["dir"]))
    found = {build["name"]: _held(build, host, shelf, verify) for build in options["builds"]}
    return {"settled": all(one["held"] for one in found.values()), "builds": found}


def look(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer with every byte proven, and for the election what this node can spare. Raises Unanswered."""
    found = answer(options, verify=True)
    host = _compatibility(options["python"])
    work = Path(options["work_dir"])
    for build in options["builds"]:
        one = found["builds"][build["name"]]
        folder = job_folder(work, build["name"], one["key"])
        one.update(
            facts.capacity(work),
            work=str(work),
            state="held" if one["held"] else state(folder),
            unsuitable=_unsuitable(build, host["python"]),
        )
    return {**found, **facts.info()}


def job_folder(work: Path, name: str, key: str) -> Path:
    """Where a build of a key is made."""
    return work / f"{name}-{key[:12]}"


def state(folder: Path) -> str:
    """Return `nothing`, `running` or `finished`: what the runner wrote last, in this boot."""
    try:
        found = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "nothing"
    if not isinstance(found, dict):
        return "nothing"
    if found.get("status") == "done":
        return "finished"
    alive = found.get("status") == "running" and found.get("boot_id") == facts.boot_id()
    return "running" if alive else "nothing"


def _compatibility(python: str) -> dict[str, str]:
    try:
        return facts.compatibility(python)
    except facts.FactsError as exc:
        raise Unanswered(f"{exc}. Set build_once_python to the Python the artifacts are for") from exc


def _held(build: Mapping[str, Any], host: Mapping[str, str], shelf: store.Store, verify: bool) -> dict[str, Any]:
    parts = keys.parts(build["parts"], host)
    key = _pinned(shelf, build) or keys.digest(parts)
    problem = shelf.problem(key, verify=verify)
    found = {"held": not problem, "key": key, "parts": parts, "problem": "" if problem == "missing" else problem}
    manifest = None if problem else shelf.manifest(key)
    if manifest is not None:
        file = manifest["files"][0]
        path = str(shelf.folder(key) / file["name"])
        found.update(path=path, sha256=file["sha256"], size=file["size"], version=manifest["version"])
    return found


def _pinned(shelf: store.Store, build: Mapping[str, Any]) -> str:
    """The whole key of the build that the user pinned by its beginning; empty without a pin, the pin if unknown."""
    if not build["pin"]:
        return ""
    known = [one["key"] for one in shelf.entries(build["name"]) if one["key"].startswith(build["pin"])]
    return str(known[0]) if len(known) == 1 else str(build["pin"])


def _unsuitable(build: Mapping[str, Any], abi: str) -> str:
    """Why no build for this Python can be made; `requires_python` is a range of minor versions, `3.10-3.14`."""
    if not build["requires_python"]:
        return ""
    low, dummy, high = build["requires_python"].partition("-")
    digits = abi.split("-")[1] if abi.startswith("cpython-") else ""
    here = (int(digits[0]), int(digits[1:])) if digits.isdigit() else (0, 0)
    if _minor(low) <= here <= _minor(high or low):
        return ""
    return f"{build['name']} {build['version']} is for Python {build['requires_python']}, this is {abi or 'no CPython'}"


def _minor(text: str) -> tuple[int, int]:
    major, dummy, minor = text.partition(".")
    return int(major), int(minor)
