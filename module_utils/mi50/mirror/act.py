"""What the module artifact_mirror does, by its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import contents, distribution, fill, nodes, plan, transfer
from .distribution import Runner
from .errors import MirrorError
from .store import Store


def wanted(given: Mapping[str, Any], run: Runner) -> tuple[list[plan.Item], list[dict[str, Any]]]:
    """Return the items and the repositories of distributions. Raises MirrorError."""
    distributions = list(given["distributions"])
    if given["own_distribution"] and given["state"] != "imported":
        here = distribution.platform(Path("/"))
        if here not in {one["platform"] for one in distributions}:
            distributions += distribution.own(Path("/"), run)
    settings = plan.Settings(
        **{name: given[name] for name in plan.Settings._fields if name != "distributions"}, distributions=distributions
    )
    plain = given["insecure_registries"]
    items = [
        item._replace(source={**item.source, "plain": plain}) if item.kind == "image" else item
        for item in plan.items(given["stack"], settings)
    ]
    fill.refuse_itself(items, given["served_as"])
    return items, distributions


def act(given: Mapping[str, Any], run: Runner, *, check_mode: bool) -> dict[str, Any]:
    """Do what the module's `state` says; return its result. Raises MirrorError."""
    store = Store(fill.root(given["dir"]))
    items, distributions = wanted(given, run)
    result: dict[str, Any] = {"changed": False, "filled": [], "learned": {}, "bytes_received": 0, "seal": ""}
    names = given["names"]
    if given["state"] == "filled" and not check_mode:
        done = fill.fill(store, items, names)
        result.update(changed=bool(done["filled"]), bytes_received=done["received"])
        result.update(filled=done["filled"], learned=done["values"])
    elif given["state"] == "filled":
        result.update(changed=bool(set(names) & set(fill.lacking(store, items))))
    elif given["state"] == "checked" and not (check_mode and fill.lacking(store, items)):
        fill.check(store, items, every_byte=given["every_byte"])
        result["learned"] = {name: one for item in items for name, one in fill.learned(store, item).items()}
    elif given["state"] in ("exported", "imported"):
        result.update(_moved(given, store, items, check_mode))
        store = Store(store.root)
    if given["state"] == "filled":
        shown = "".join(f"{name}\n" for name in names)
        result["diff"] = {"before": "", "after": shown if result["changed"] else ""}
    lacking = fill.lacking(store, items)
    return {
        **result,
        "holds": [item.name for item in items],
        "lacking": lacking,
        "size": store.size(),
        "distributions": distributions,
        "nodes": nodes.text(given["served_as"], given["stack"]["bases"]),
        "contents": contents.text(store),
    }


def _moved(given: Mapping[str, Any], store: Store, items: list[plan.Item], check_mode: bool) -> dict[str, Any]:
    if not given["place"]:
        raise MirrorError("place: give the folder to export to or to import from.")
    other = Store(fill.root(given["place"]))
    if given["state"] == "exported":
        fill.check(store, items, every_byte=given["every_byte"])
        if check_mode:
            return {"changed": other.files != store.files}
        return {"changed": transfer.copy(store, other)["changed"], "seal": transfer.seal(other)}
    seal = transfer.check_seal(other.root, given["seal"])
    offered = {item.name for item in items} & set(other.items)
    fill.check(other, [item for item in items if item.name in offered], every_byte=False)
    if check_mode:
        return {"changed": bool(set(other.files) - set(store.files)), "seal": seal}
    return {"changed": transfer.copy(other, store)["changed"], "seal": seal}
