"""Models: their files and the few answers of a hub that nodes ask for, as plain files under the hub's own paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..fetch.record import sha256_of
from ..models import hub
from ..models.errors import ModelError
from ..models.wanted import Wanted, parse
from .errors import MirrorError
from .files import Done, get
from .plan import Item
from .store import Store, write


def fill(store: Store, item: Item) -> Done:
    """Have a model at its revision. Raises MirrorError."""
    try:
        asked = parse([item.what["model"]])[0]
        hubs = hub.Endpoints(dict(item.source))
        found = hub.complete(asked, hubs)
    except ModelError as error:
        raise MirrorError(f"{item.name}: {error}") from None
    root = store.www / found.source
    received, paths, listed = 0, [], []
    for file in found.files:
        url = hub.address(found, file.path, hubs)
        target = root / url[len(hubs.base(found.source)) + 1 :]
        received += get(store, url, target, file.sha256, file.size)
        paths.append(target)
        listed.append({"path": file.path, "size": target.stat().st_size, "sha256": file.sha256 or sha256_of(target)})
    paths += _answers(root, asked, found, listed)
    return Done(paths, {}, received)


def _answers(root: Path, asked: Wanted, found: Wanted, listed: list[dict[str, Any]]) -> list[Path]:
    """Write what the hub would say; a web server ignores the question behind the path.

    Several models may be of one repository: its list grows with each.
    """
    answers: dict[str, Any]
    if found.source == "modelscope":
        path = f"api/v1/models/{found.repo}/repo/files"
        new = [{"Path": one["path"], "Sha256": one["sha256"], "Size": one["size"], "Type": "blob"} for one in listed]
        before = _before(root / path)
        files = before["Data"]["Files"] if isinstance(before, dict) else []
        answers = {path: {"Data": {"Files": _merged(files, new, "Path")}}}
    else:
        tree = [
            {
                "type": "file",
                "path": one["path"],
                "size": one["size"],
                "lfs": {"oid": one["sha256"], "size": one["size"]},
            }
            for one in listed
        ]
        place, named = f"api/models/{found.repo}", quote(asked.revision, safe="")
        path = f"{place}/tree/{found.revision}"
        tree = _merged(_before(root / path) or [], tree, "path")
        answers = {path: tree, f"{place}/revision/{named}": {"sha": found.revision}}
    for path, answer in answers.items():
        write(root / path, json.dumps(answer) + "\n")
    return [root / path for path in answers]


def _before(path: Path) -> Any:  # noqa: ANN401 - an answer of a hub
    """The answer that is there already; None for none, or for one that was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _merged(before: list[dict[str, Any]], new: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Both lists by path, the new one first in what both have."""
    found = {**{one[key]: one for one in before}, **{one[key]: one for one in new}}
    return [found[path] for path in sorted(found)]
