"""The question `gpu_power_info`: its options, and the answer of this node to it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..fan import state
from . import plan

_FILE = {
    "path": {"type": "path", "required": True},
    "sha256": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
}
SPEC: dict[str, dict[str, Any]] = {
    "cap_watts": {"type": "int"},
    "level": {"type": "str"},
    "cards": {"type": "dict", "default": {}},
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "list": {"type": "path", "default": "/etc/mi50-aipc/gpu-power"},
    "unit": {"type": "str", "default": "mi50-gpu-power.service"},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "fan_runtime": {"type": "path", "default": "/run/mi50-fand"},
}


class Unanswered(Exception):
    """A wish that a card cannot take, or a node without systemd; the text says which and what to do."""


def answer(options: Mapping[str, Any], run: state.Runner, root: Path = Path("/")) -> dict[str, Any]:
    """Return what `gpu_power_info` returns; `options` are valid by SPEC. Raises Unanswered."""
    units = state.units([options["unit"]], run)
    if units is None:
        raise Unanswered("systemd does not answer on this node; caps would be lost with the next boot")
    found = list(plan.cards(Path(options["sysfs_root"])))
    try:
        wanted = plan.wishes(found, options)
    except plan.Refused as error:
        raise Unanswered(str(error)) from error
    text = plan.listing(wanted)
    entry = {"path": options["list"], "mode": "0644", "sha256": sha256(text.encode()).hexdigest()}
    unit = units[options["unit"]]
    differing = state.differing([*options["files"], entry], root)
    problems = plan.off(found, wanted, root / str(options["fan_runtime"]).lstrip("/"))
    problems += [] if unit.enabled == "enabled" else [f"{options['unit']} is not enabled"]
    problems += [f"systemd has not read the new {options['unit']}"] if unit.stale else []
    return {
        "settled": not differing and not problems,
        "differing": differing,
        "problems": problems,
        "list": text,
        "unit": unit._asdict(),
        "cards": [card._asdict() for card in found],
    }
