"""Fill a mirror item by item, say what it lacks for a stack, and what it learned for the lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import apt, files, git, image, models, wheels
from .errors import MirrorError
from .plan import Item
from .store import Store

FILLERS: Mapping[str, Callable[[Store, Item], files.Done]] = {
    "key": files.key,
    "file": files.file,
    "git": git.fill,
    "image": image.fill,
    "wheel-index": wheels.torch,
    "pypi": wheels.pypi,
    "apt": apt.fill,
    "model": models.fill,
}


def lacking(store: Store, wanted: Sequence[Item]) -> list[str]:
    """Names of the items that are not whole, in order."""
    return [item.name for item in wanted if differs(store, item) or not store.whole(item.name)]


def fill(store: Store, wanted: Sequence[Item], names: Iterable[str]) -> dict[str, Any]:
    """Have the named items; return bytes received, what was filled, and values for the lock by artifact.

    Raises MirrorError at the first that fails; what came before it stays.
    """
    received, filled, values = 0, [], {}
    by_name = {item.name: item for item in wanted}
    for name in names:
        item = by_name.get(name)
        if item is None:
            raise MirrorError(f"{name}: there is no such item; known: {', '.join(sorted(by_name))}.")
        before = dict(store.files)
        done = FILLERS[item.kind](store, item)
        store.put(name, item.kind, item.what, done.values, done.paths)
        received += done.received
        if any(before.get(relative) != store.files[relative] for relative in store.items[name]["files"]):
            filled.append(name)
        values.update(learned(store, item))
    return {"received": received, "filled": filled, "values": values}


def learned(store: Store, item: Item) -> dict[str, dict[str, Any]]:
    """What the lock file records of an item, by artifact; empty for what the stack pins itself."""
    if item.name not in store.items:
        return {}
    entry: dict[str, Any] = {"url": item.source.get("url", "")}
    if item.kind == "file":
        path = store.www / store.items[item.name]["what"]["path"]
        entry.update({key: store.files[store.relative(path)][key] for key in ("size", "sha256")})
    elif item.kind in ("image", "wheel-index"):
        entry.update(store.items[item.name]["values"])
    else:
        return {}
    return {item.name: entry}


def check(store: Store, wanted: Sequence[Item], *, every_byte: bool) -> None:
    """Raise one MirrorError with everything that a mirror lacks, or has otherwise than the stack and its lock say."""
    problems = []
    for item in wanted:
        why = differs(store, item)
        if why:
            problems.append(f"{item.name}: {why}")
        else:
            problems += [f"{item.name}: {text}" for text in store.wrong([item.name], every_byte=every_byte)]
    if problems:
        raise MirrorError(
            f"{store.root}: {len(problems)} things are missing or wrong for this stack: {'; '.join(problems)}. Fill it "
            "where there is a network (playbooks/mirror.yml), or leave them out (artifact_mirror_without)."
        )


def differs(store: Store, item: Item) -> str:
    """Why what the mirror has under this name is not what is wanted; empty when it is, or is more than that.

    What was fetched before the lock knew its digest is the same item when the digest agrees.
    """
    have = store.items.get(item.name)
    if have is None:
        return "not in it"
    if have["kind"] != item.kind:
        return f"is of kind {have['kind']} there, {item.kind} here"
    had, known = have["what"], learned(store, item).get(item.name, {})
    reasons = (_difference(key, expected, known.get(key, had.get(key))) for key, expected in item.what.items())
    return next(filter(None, reasons), "")


_LISTS = ("packages", "distribution", "pythons", "requirements", "beside")


def _difference(key: str, expected: Any, now: Any) -> str:  # noqa: ANN401 - a value of an item, whatever its key holds
    """Why one value of an item does not do; empty when it does. Of lists the mirror may have more."""
    if key in _LISTS:
        more = sorted(set(expected) - set(now or ()))
        return f"{key}: {', '.join(more)} are not in it" if more else ""
    if key == "repositories":
        more = sorted({*map(_repository, expected)} - {*map(_repository, now or ())})
        return f"repositories: {', '.join(more)} are not in it" if more else ""
    if key == "wheels":
        wrong = [file for file, digest in sorted((now or {}).items()) if expected.get(file, digest) != digest]
        return f"sha256 of {wrong[0]} is {now[wrong[0]]}, the lock says {expected[wrong[0]]}" if wrong else ""
    if expected is None or expected == now or key == "keyring":
        return ""
    return f"{key} is {now}, the stack or its lock says {expected}"


def _repository(one: Mapping[str, Any]) -> str:
    return f"{one['path']} {one['suite']} {'+'.join(one['components'])} {one.get('fingerprint', '')}".strip()


def refuse_itself(wanted: Sequence[Item], served_as: Iterable[str]) -> None:
    """Raise MirrorError when an upstream address is the mirror's own: it would wait for itself."""
    for base in filter(None, served_as):
        for item in wanted:
            values = item.source.values()
            for address in [one for value in values for one in ([value] if isinstance(value, str) else value)]:
                if (f"{address}/").startswith(f"{base.rstrip('/')}/"):
                    raise MirrorError(
                        f"{item.name}: its upstream address is this mirror itself ({address}). Set mi50_url_* for the "
                        "group of nodes alone, not for all hosts."
                    )


def root(path: str) -> Path:
    """Return the folder of a mirror. Raises MirrorError for one that is no place for it."""
    found = Path(path)
    if not found.is_absolute() or len(found.parts) < 3:
        raise MirrorError(f"artifact_mirror_dir: {path!r}: give an absolute path of its own, such as /srv/mi50-mirror.")
    return found
