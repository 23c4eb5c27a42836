"""What a mirror tells its nodes that it holds, so that they see what is missing before they begin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .store import Store

FORMAT = 1


def text(store: Store) -> str:
    """Return contents.json: every whole item with what decides what it is; without the names of its files."""
    items = {name: _item(store, item) for name, item in sorted(store.items.items()) if store.whole(name)}
    return json.dumps({"format": FORMAT, "items": items}, sort_keys=True) + "\n"


def _item(store: Store, item: Mapping[str, Any]) -> dict[str, Any]:
    """Of a single file also the digest that it came with: a stack may not have known it."""
    found = {key: item[key] for key in ("kind", "what", "values")}
    if item["kind"] == "file":
        file = store.files[store.relative(store.www / item["what"]["path"])]
        found["values"] = {**item["values"], "sha256": file["sha256"]}
    return found
