"""The question `llm_service`: is anything left to do for a service of this node? Cheap: no engine's code, no request.

The controller sends a digest of what it asks for (`asked`); the node compares it with the record of the version that
answered last, looks whether what that rests on is still there, and believes the health timer for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import record

Runner = Callable[[list[str]], tuple[int, str]]
SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "asked": {"type": "str", "required": True},
    "sysfs_root": {"type": "path", "default": "/sys"},
}
_PROPERTIES = "LoadState,ActiveState,UnitFileState,NeedDaemonReload"


def answer(options: Mapping[str, Any], run: Runner, root: Path = Path("/")) -> dict[str, Any]:
    """Return `{"settled", "why", "state"}`; `why` are lines for people. Raises nothing."""
    name = options["name"]
    try:
        known = json.loads((root / f"var/lib/mi50-aipc/serve/{name}/proven.json").read_text(encoding="utf-8"))
        seen = json.loads((root / f"run/mi50-aipc/serve/{name}.json").read_text(encoding="utf-8"))
        why = [] if known["asked"] == options["asked"] else ["something else is asked for than what was proven"]
        why += record.drift(known, root, Path(options["sysfs_root"]))
        state = str(seen["state"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"settled": False, "why": [f"no record of a proof ({type(error).__name__})"], "state": ""}
    why += _units([f"mi50-{name}.service", f"mi50-{name}-health.timer"], run)
    if state != "ready":
        why.append(f"the last look said: {state}: {seen.get('text', '')}")
    return {"settled": not why, "why": why, "state": state}


def _units(names: list[str], run: Runner) -> list[str]:
    code, text = run(["systemctl", "show", f"--property={_PROPERTIES}", "--", *names])
    blocks = [dict(line.split("=", 1) for line in part.splitlines() if "=" in line) for part in text.split("\n\n")]
    if code or len(blocks) < len(names):
        return ["systemd does not answer"]
    wanted = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    return [
        f"{name}: {key} is {block.get(key, '')!r}"
        for name, block in zip(names, blocks)
        for key, value in wanted.items()
        if block.get(key) != value
    ]
