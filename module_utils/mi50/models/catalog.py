"""The catalogue of models and its lock: names in an inventory become models. Runs on the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..stack.load import StackError, nearest, read_yaml
from .errors import ModelError
from .wanted import parse

NAME = "catalog.yml"
LOCK = "catalog.lock.yml"
_ORIGIN = ("source", "repo", "revision", "url", "path")
_HEADER = (
    "---\n# Written by playbooks/mirror.yml -e mi50_lock=true: what hubs said of models when asked first.\n"
    "# Commit it. What differs later is refused; delete an entry only to lock that model anew.\n"
)


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the models of the catalogue by name, the lock merged. Raises ModelError."""
    path = folder / NAME
    data = _read(path)
    listed = data.get("models") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) and one.get("name") for one in listed):
        raise ModelError(f"{path}: holds no list `models` of mappings with a name.")
    found = {str(one["name"]): dict(one) for one in listed}
    locked = read_lock(folder)
    for name, entry in locked.items():
        if name not in found:
            raise ModelError(f"{folder / LOCK}: {name}: the catalogue has no such model; delete the entry.")
        found[name] = merge(found[name], entry, folder / LOCK)
    return found


def read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the lock's entries by name; a missing file is an empty lock. Raises ModelError."""
    path = folder / LOCK
    if not path.exists():
        return {}
    data = _read(path)
    entries = data.get("models") if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ModelError(f"{path}: is no lock file: it holds `models`. Restore it, or delete it and lock again.")
    return entries


def merge(model: Mapping[str, Any], entry: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fill a model's nulls from its lock entry. Raises ModelError when the two contradict each other."""
    files = {one["path"]: dict(one) for one in model.get("files") or []}
    locked = {one["path"]: one for one in entry.get("files") or []}
    for name, says in locked.items():
        have = files.setdefault(name, {"path": name}) if not model.get("files") else files.get(name)
        if have is None:
            continue
        for key in ("sha256", "size"):
            if have.get(key) and says.get(key) and have[key] != says[key]:
                raise ModelError(
                    f"{path}: {model['name']}: {key} of {name} is locked as {says[key]!r}, but the catalogue says "
                    f"{have[key]!r}. One of them is wrong: compare with a second source."
                )
            have[key] = have.get(key) or says.get(key)
    revision = model.get("revision")
    # A locked branch is the commit it meant then.
    return {**model, "revision": entry.get("revision") or revision, "files": list(files.values())}


def resolve(asked: Sequence[Any], catalogue: Mapping[str, Mapping[str, Any]], where: str) -> list[dict[str, Any]]:
    """Return the models asked for: names stand for entries, mappings may change some of an entry's values.

    Each has its `identity`. Raises ModelError.
    """
    entries = [_entry(one, catalogue, f"{where}[{at}]") for at, one in enumerate(asked)]
    return [{**entry, "identity": model.identity} for entry, model in zip(entries, parse(entries, where))]


def _entry(asked: Any, catalogue: Mapping[str, Mapping[str, Any]], where: str) -> Any:  # noqa: ANN401 - as given
    if isinstance(asked, str):
        if asked not in catalogue:
            near = nearest(asked, list(catalogue))
            guess = f"; did you mean {near!r}?" if near else "."
            raise ModelError(
                f"{where}: the catalogue has no model {asked!r}{guess} Known: {', '.join(sorted(catalogue))}. "
                "Any other model is a mapping with name, repo, revision and files."
            )
        return plain(_known(catalogue[asked], where))
    if not isinstance(asked, Mapping):
        return asked
    known = catalogue.get(str(asked.get("name")), {})
    # From another place it may have another revision, but its digests stay what they are.
    if known and {"repo", "url", "path"} & set(asked):
        known = {key: value for key, value in known.items() if key not in _ORIGIN}
    return plain(_known({**known, **asked}, where))


def _known(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if entry.get("source", "huggingface") in ("huggingface", "modelscope") and not entry.get("revision"):
        raise ModelError(
            f"{where}: {entry.get('name')}: its revision is not known yet. Lock it once with playbooks/mirror.yml -e "
            'mi50_lock=true -e \'{"mi50_lock_models": ["' + str(entry.get("name")) + "\"]}', or give revision: COMMIT."
        )
    return entry


def plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry without nulls, as modules take it."""
    kept = {key: value for key, value in entry.items() if value is not None}
    if isinstance(kept.get("files"), list):
        kept["files"] = [
            {key: value for key, value in one.items() if value is not None}
            if isinstance(one, Mapping)
            else {"path": one}
            for one in kept["files"]
        ]
    return kept


def unlocked(model: Mapping[str, Any]) -> bool:
    """Tell whether a model of the catalogue lacks its commit or a digest."""
    files = model.get("files") or []
    pinned = bool(files) and all(isinstance(one, Mapping) and one.get("sha256") for one in files)
    return model.get("source", "huggingface") in ("huggingface", "modelscope") and not pinned


def record(folder: Path, name: str, entry: dict[str, Any]) -> bool:
    """Add one entry to the lock, atomically; return whether it changed. Raises ModelError for one that differs."""
    entries = read_lock(folder)
    old = entries.get(name)
    if old == entry:
        return False
    if old is not None:
        raise ModelError(
            f"{name}: is locked at revision {old.get('revision')} with other values than its hub names now "
            f"({entry.get('revision')}). Nothing was recorded. To take those, delete its entry in {folder / LOCK}."
        )
    _write(folder / LOCK, {**entries, name: entry})
    return True


def _write(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    import yaml  # noqa: PLC0415 - the controller alone has it

    text = _HEADER + yaml.safe_dump({"models": entries}, sort_keys=True, default_flow_style=False, width=1000)
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever a file holds
    try:
        return read_yaml(path)
    except StackError as error:
        raise ModelError(str(error)) from None
