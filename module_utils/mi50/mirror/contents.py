"""What a mirror tells its nodes that it holds, so that they see what is missing before they begin."""

from __future__ import annotations

import json

from .store import Store

FORMAT = 1


def text(store: Store) -> str:
    """Return contents.json: every whole item with what decides what it is; without the names of its files."""
    items = {
        name: {key: item[key] for key in ("kind", "what", "values")}
        for name, item in sorted(store.items.items())
        if store.whole(name)
    }
    return json.dumps({"format": FORMAT, "items": items}, sort_keys=True) + "\n"
