"""Images that the role vllm brought: noted, so that no others are ever removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from .. import process
from ..containers import image
from .model import Node

NOTE = "/var/lib/mi50-aipc/serve/{}/images.json"


def stream(node: Node) -> image.Stream:
    """Programs line by line on a real node; through the node's own runner in tests."""
    if node.run is process.run:
        return image.run_streamed

    def adapted(argv: Sequence[str], said: Callable[[str], None]) -> tuple[int, str]:
        done = node.run(argv)
        text = (done.output + done.errors).decode(errors="replace")
        for line in text.splitlines():
            said(line)
        return done.code, text

    return adapted


def known(name: str, node: Node) -> list[str]:
    """Return the references of images a service brought."""
    try:
        found = json.loads(node.path(NOTE.format(name)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def write(name: str, images: Sequence[str], node: Node) -> None:
    """Note them. Raises OSError."""
    path = node.path(NOTE.format(name))
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps(list(images)) + "\n", encoding="utf-8")


def quiet(line: str) -> None:
    """Take a line and say nothing."""
    del line
