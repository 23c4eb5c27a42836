"""The record of the version that answered last: what was asked for, its files, and what its proof rests on.

It is what a failed switch goes back to, and what the cheap question compares with. It holds no secret, but is root's:
a digest that a given key has a part in stands in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import config_files
from .model import STATE_DIR, Gpu, Node, Proof, Service
from .question import stamp

FORMAT = 1


def path(name: str, node: Node) -> Path:
    """Where a service's record lies."""
    return node.path(f"{STATE_DIR.format(name)}/proven.json")


def read(name: str, node: Node) -> dict[str, Any] | None:
    """The record of a service; None when there is none, or none that can be used."""
    try:
        found = json.loads(path(name, node).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def write(service: Service, asked: str, rendered: Sequence[config_files.File], proof: Proof, node: Node) -> None:
    """Record a version that has just answered."""
    files = {}
    for file in rendered:
        if file.content is not None:
            name = "/" + str(file.path.relative_to(node.root))
            digest = hashlib.sha256(file.content.encode()).hexdigest()
            files[name] = {"content": file.content, "mode": file.mode, "sha256": digest}
    content = {
        "format": FORMAT,
        "asked": asked,
        "unit": service.unit_name,
        "files": files,
        "key_file": service.key.path,
        "watched": {name: stamp(node.path(name)) for name in service.watched},
        "gpus": [_card(gpu) for gpu in service.gpus],
        "facts": dict(service.facts),
        "proof": {**proof._asdict(), "devices": [device._asdict() for device in proof.devices]},
    }
    config_files.write(path(service.name, node), (json.dumps(content, indent=1) + "\n").encode(), 0o600)


def previous(known: Mapping[str, Any], rendered: Iterable[config_files.File], node: Node) -> list[config_files.File]:
    """The files as they were; those that only the new version has shall not exist."""
    old = [
        config_files.File(node.path(name), str(file["content"]), int(file["mode"]))
        for name, file in known["files"].items()
    ]
    there = {file.path for file in old}
    return old + [
        config_files.File(file.path, None) for file in rendered if file.path not in there and file.path.exists()
    ]


def _card(gpu: Gpu) -> dict[str, str]:
    return {"pci": gpu.pci, "render": gpu.render.rpartition("/")[2]}
