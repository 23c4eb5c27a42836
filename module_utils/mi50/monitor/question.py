"""The question `monitor_info`: does the node still measure what it shall, and show it to whom it shall?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..fan import state

_FILE = {
    "path": {"type": "path", "required": True},
    "sha256": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
}
SPEC: dict[str, dict[str, Any]] = {
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "package": {"type": "path", "required": True},
    "units": {"type": "list", "elements": "str", "default": []},
    "metrics_dir": {"type": "path", "default": "/var/lib/prometheus/node-exporter"},
    "user": {"type": "str", "default": "prometheus"},
}
EXPORTER = "prometheus-node-exporter.service"
DROP_IN = f"/etc/systemd/system/{EXPORTER}.d/mi50.conf"
FAND = "mi50-fand.service"


class Unanswered(Exception):
    """A node without systemd; the text says so."""


def answer(options: Mapping[str, Any], run: state.Runner, root: Path = Path("/")) -> dict[str, Any]:
    """Return what `monitor_info` returns; `options` are valid by SPEC. Raises Unanswered."""
    names = list(dict.fromkeys([*options["units"], EXPORTER, FAND]))
    units = state.units(names, run)
    if units is None:
        raise Unanswered("systemd does not answer on this node; nothing would be measured")
    differing = state.differing(options["files"], root)
    problems = []
    for name in options["units"]:
        unit = units[name]
        if unit.active not in state.RUNS:
            problems.append(f"{name} is {unit.active or 'not there'}")
        elif unit.enabled not in ("enabled", "static"):
            problems.append(f"{name} is not enabled")
        if unit.stale:
            problems.append(f"systemd has not read the new {name}")
    folder = root / str(options["metrics_dir"]).lstrip("/")
    writable = _group_writes(folder, str(options["user"]), root)
    if not writable:
        problems.append(f"{options['metrics_dir']} is missing, or not the collector's to write")
    return {
        "settled": not differing and not problems,
        "differing": differing,
        "problems": problems,
        "left_over": state.left_over(str(options["package"]), options["files"], root),
        "folder": folder.is_dir(),
        # Somebody's own exporter is given back as it was; one that came with us is not left open behind us.
        "exporter_before": units[EXPORTER].load == "loaded" and not (root / DROP_IN[1:]).exists(),
        "fand_active": units[FAND].active in state.RUNS,
    }


def _group_writes(folder: Path, user: str, root: Path) -> bool:
    """Whether the group of `user` may write into the folder."""
    try:
        rows = [line.split(":") for line in (root / "etc/passwd").read_text(encoding="utf-8").splitlines()]
        seen = folder.stat()
    except OSError:
        return False
    groups = {row[3] for row in rows if len(row) == 7 and row[0] == user}
    return str(seen.st_gid) in groups and bool(seen.st_mode & 0o020)
