"""The question `fan_info`: its options, and the answer of this node to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import look, rivals, state

SKEW_S = 1.0  # the kernel rounds /proc/uptime down: a beat of this moment may look younger than now
FRESH_S = 10.0  # a cycle takes a second; `mi50-fand status` draws the same line
_NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
_FILE = {
    "path": {"type": "path", "required": True},
    "sha256": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
}
SPEC: dict[str, dict[str, Any]] = {
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "package": {"type": "path", "required": True},
    "enabled": _NAMES,
    "active": _NAMES,
    "config": {"type": "path", "default": "/etc/mi50-fand/config.json"},
    "heartbeat": {"type": "path", "default": "/run/mi50-fand/heartbeat"},
    "mapped": {"type": "bool", "required": True},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
}


class Unanswered(Exception):
    """The node has no systemd that answers; the text says what that means."""


def answer(options: Mapping[str, Any], run: state.Runner, root: Path = Path("/")) -> dict[str, Any]:
    """Return what `fan_info` returns; `options` are valid by SPEC. Raises Unanswered."""
    own = list(dict.fromkeys([*options["enabled"], *options["active"]]))
    seen = state.units([*own, *rivals.RIVALS], run)
    if seen is None:
        raise Unanswered("systemd does not answer on this node; the fan daemon lives under it and cannot do without")
    sysfs = Path(options["sysfs_root"])
    result: dict[str, Any] = {
        "differing": state.differing(options["files"], root),
        "left_over": state.left_over(options["package"], options["files"], root),
        "units": {name: seen[name]._asdict() for name in own},
        "rivals": rivals.running(seen),
        "configured": (root / str(options["config"]).lstrip("/")).exists(),
        "heartbeat": look.heartbeat(
            root / str(options["heartbeat"]).lstrip("/"), Path(options["proc_root"]) / "uptime"
        ),
        "chips": look.chips(sysfs),
    }
    result["problems"] = problems(result, options["enabled"], options["active"], options["mapped"])
    changes = [*result["differing"], *result["left_over"], *result["problems"], *result["rivals"]]
    return {"settled": not changes, **result}


def problems(result: Mapping[str, Any], enabled: Sequence[str], active: Sequence[str], mapped: bool) -> list[str]:
    """What stands between this node and blowers that are governed, a sentence each."""
    units = {name: state.Unit(**unit) for name, unit in result["units"].items()}
    found = [f"{name} is not enabled" for name in enabled if units[name].enabled != "enabled"]
    found += [f"{name} is {units[name].active or 'unknown'}" for name in active if units[name].active != "active"]
    found += [f"systemd has not read the new {name}" for name, unit in units.items() if unit.stale]
    beat = result["heartbeat"]
    if mapped and beat is None:
        found.append("the daemon has not completed a cycle yet")
    elif mapped and not -SKEW_S <= beat["age_s"] <= FRESH_S:
        found.append(f"the daemon's last completed cycle was {beat['age_s']:g} s ago")
    return found
