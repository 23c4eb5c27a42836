"""The record of a node: what it was, and what came while roles worked. Pure; times are seconds since 1970.

{"format": 1, "first": look at the first beginning, "open": look at a beginning that has no end yet, or None,
 "packages": [names that came], "marks": [names that lost their mark `auto`], "members": [[group, user]],
 "groups": [names], "runs": [{"stack", "engines", "at", "digest"}]}

What comes between a beginning and its end counts as ours, also what somebody else installs meanwhile. A run that was
interrupted leaves its beginning open, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 1
_RUNS = 20  # of the past; enough to find any stack that a node was ever rolled back to

Record = dict[str, Any]


def new() -> Record:
    """Return the record of a node that nothing is known of."""
    return {
        "format": FORMAT,
        "first": None,
        "open": None,
        "packages": [],
        "marks": [],
        "members": [],
        "groups": [],
        "runs": [],
    }


def begin(record: Record, seen: Mapping[str, Any]) -> Record:
    """Return the record with a beginning; unchanged when one is open."""
    if record["open"] is not None:
        return record
    return {**record, "first": record["first"] or dict(seen), "open": dict(seen)}


def end(record: Record, seen: Mapping[str, Any], run: Mapping[str, Any] | None = None) -> Record:
    """Return the record with what came since its beginning; `run` is remembered when it is another than the last."""
    runs = list(record["runs"])
    if run and (not runs or _essence(runs[-1]) != _essence(run)):
        runs = [*runs, dict(run)][-_RUNS:]
    before = record["open"]
    if before is None:
        return {**record, "runs": runs}
    packages = [name for name in seen["packages"] if name not in before["packages"]]
    marks = [name for name in before["auto"] if name in seen["packages"] and name not in seen["auto"]]
    members = [
        [group, user]
        for group, users in seen["members"].items()
        for user in users
        if user not in before["members"].get(group, [])
    ]
    groups = [name for name in seen["groups"] if name not in before["groups"]]
    return {
        **record,
        "open": None,
        "packages": sorted({*record["packages"], *packages} & set(seen["packages"])),
        "marks": sorted({*record["marks"], *marks}),
        "members": sorted([*record["members"], *(one for one in members if one not in record["members"])]),
        "groups": sorted({*record["groups"], *groups}),
        "runs": runs,
    }


def _essence(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != "at"}
