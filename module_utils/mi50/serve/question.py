"""The question `llm_service`: is anything left to do for a service of this node? Cheap: no engine's code, no request.

The controller sends a digest of what it asks for (`asked`); the node compares it with the record of the version that
answered last, looks whether what that rests on is still there, and believes the health timer for the rest.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Runner = Callable[[list[str]], tuple[int, str]]
SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "asked": {"type": "str", "required": True},
    "sysfs_root": {"type": "path", "default": "/sys"},
    # The build its program comes from, and the digest of the wheel that build_once has of it on this node.
    "build": {"type": "str", "default": ""},
    "wheel_sha256": {"type": "str", "default": ""},
}
_PROPERTIES = "LoadState,ActiveState,UnitFileState,NeedDaemonReload"


def answer(options: Mapping[str, Any], run: Runner, root: Path = Path("/")) -> dict[str, Any]:
    """Return `{"settled", "why", "state", "model"}`; `why` are lines for people. Raises nothing."""
    name = options["name"]
    try:
        known = json.loads((root / f"var/lib/mi50-aipc/serve/{name}/proven.json").read_text(encoding="utf-8"))
        seen = json.loads((root / f"run/mi50-aipc/serve/{name}.json").read_text(encoding="utf-8"))
        why = [] if known["asked"] == options["asked"] else ["something else is asked for than what was proven"]
        why += drift(known, root, Path(options["sysfs_root"]))
        if options.get("wheel_sha256", "") not in ("", known["facts"].get("wheel", "")):
            why.append("build_once has another wheel than the one that serves")
        state, model = str(seen["state"]), str(seen.get("model", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = [f"no record of a proof ({type(error).__name__})"]
        return {"settled": False, "why": why, "state": "", "model": ""}
    why += _units([f"mi50-{name}.service", f"mi50-{name}-health.timer"], run)
    if state != "ready":
        why.append(f"the last look said: {state}: {seen.get('text', '')}")
    return {"settled": not why, "why": why, "state": state, "model": model}


def with_builds(options: Mapping[str, Any], built: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Complete `options` with the wheel that build_once has seen on the node, where the engine's program is one."""
    wheel = (built or {}).get("builds", {}).get(options.get("build") or "") or {}
    return {**options, "wheel_sha256": wheel["sha256"]} if wheel.get("sha256") else options


def stamp(file: Path) -> list[int]:
    """What changes when a file's content does: size, time of change, inode. Empty when there is no file."""
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def drift(known: Mapping[str, Any], root: Path, sysfs: Path) -> list[str]:
    """What differs now from what the record rests on, a line each: files, models, cards. Reads, compares digests."""
    found = []
    for name, file in known["files"].items():
        target = root / name.lstrip("/")
        try:
            same = hashlib.sha256(target.read_bytes()).hexdigest() == file["sha256"]
            same = same and stat.S_IMODE(target.stat().st_mode) == file["mode"]
        except OSError:
            same = False
        if not same:
            found.append(f"{name} was changed or removed")
    for name, seen in known["watched"].items():
        if stamp(root / name.lstrip("/")) != seen:
            found.append(f"{name} is not the file that was proven")
    for card in known["gpus"]:
        if not (sysfs / "bus/pci/devices" / card["pci"] / "drm" / card["render"]).exists():
            found.append(f"{card['pci']} is not {card['render']} any more")
    return found + (_key(str(known["key_file"]), root) if known["key_file"] else [])


def _key(name: str, root: Path) -> list[str]:
    try:
        others = stat.S_IMODE((root / name.lstrip("/")).stat().st_mode) & 0o077
    except OSError:
        return [f"{name} is missing"]
    return [f"{name} can be read by others"] if others else []


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
