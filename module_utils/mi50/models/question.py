"""The question `model`: its options, and the answer of this node to it. Only what a settled node needs is imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import store

_MODEL = {"name": {"type": "str", "required": True}, "identity": {"type": "str", "required": True}}
SPEC: dict[str, dict[str, Any]] = {
    "store": {"type": "path", "default": str(store.DEFAULT)},
    "models": {"type": "list", "elements": "dict", "default": [], "options": _MODEL},
    "absent": {"type": "list", "elements": "str", "default": []},
}


def answer(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settled`, `lacking` (names that are not there as asked for) and `unused` (names nobody asks for).

    A look at each file of the models asked for; none is read.
    """
    folder = Path(options["store"])
    lacking = [one["name"] for one in options["models"] if not store.settled(folder, one["name"], one["identity"])]
    lacking += [name for name in options["absent"] if (folder / name).exists()]
    wanted = {one["name"] for one in options["models"]}
    unused = [name for name in store.names(folder) if name not in wanted]
    return {"settled": not lacking, "lacking": lacking, "unused": unused}
