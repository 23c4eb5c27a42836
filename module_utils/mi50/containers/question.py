"""The question `container_engine`: its options, and the answer of this node to it. Files and one unit alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import engine

_NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
SPEC: dict[str, dict[str, Any]] = {"registry_mirrors": _NAMES, "insecure_registries": _NAMES}


def answer(
    options: Mapping[str, Any], run: Callable[[Sequence[str]], tuple[int, str]], root: Path = Path("/")
) -> dict[str, Any]:
    """Return `settled`: whether Docker is there, runs, is enabled, and has the registries in its settings."""
    return {"settled": engine.settled(options["registry_mirrors"], options["insecure_registries"], run, root)}
