"""The options of the module `gfx906_rocblas`, and its answer when it is asked only whether every kernel is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .request import Request
from .run import run_all

SPEC: dict[str, dict[str, Any]] = {
    "src": {"type": "path"},
    "dest": {"type": "list", "elements": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "gpu_arch": {"type": "str", "default": "gfx906"},
    "version": {"type": "str"},
    "signature": {"type": "path"},
    "keyring": {"type": "path"},
    "verify": {"type": "str", "choices": ["stat", "sha256"], "default": "stat"},
    "expected_files": {"type": "int"},
    "allow_version_mismatch": {"type": "bool", "default": False},
    "source_id": {"type": "str"},
    "sha256": {"type": "str"},
    "defer": {"type": "bool", "default": False},
    "discard_source": {"type": "str", "choices": ["never", "rejected", "always"], "default": "never"},
    "threads": {"type": "int", "default": 0},
}


def answer(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the number of kernel files by destination when each is whole and nothing is to be done or said, else None.

    `options` are valid by SPEC. Changes nothing, whatever they say: it asks as the module does in check mode.
    """
    given = {**options, "state": "present", "defer": True, "discard_source": "never"}
    destinations = given.pop("dest")
    result, failure = run_all(Request("", check_mode=True, **given), destinations)
    warnings = result.pop("warnings")
    if failure or warnings or result["changed"] or result["needs_source"]:
        return None
    return {"files": {library["dest"]: len(library["files"]["unchanged"]) for library in result["libraries"]}}
