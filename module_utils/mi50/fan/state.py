"""Files and systemd units of a node against what they shall be. Pure reading; nothing here changes anything."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Runner = Callable[[list[str]], tuple[int, str]]
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload"
RUNS = ("active", "activating", "reloading")


class Unit(NamedTuple):
    """One unit as systemd sees it; empty strings where it does not know the unit."""

    load: str = ""
    active: str = ""
    enabled: str = ""
    stale: bool = False  # its file changed since systemd read it


def differing(files: Sequence[Mapping[str, Any]], root: Path = Path("/")) -> list[str]:
    """Paths of the wanted files ({path, sha256, mode}) that are missing, or have another content or mode."""
    found = []
    for wanted in files:
        path = root / str(wanted["path"]).lstrip("/")
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found.append(str(wanted["path"]))
            continue
        if digest != wanted["sha256"] or mode != int(str(wanted["mode"]), 8) or path.is_symlink():
            found.append(str(wanted["path"]))
    return found


def left_over(directory: str, files: Sequence[Mapping[str, Any]], root: Path = Path("/")) -> list[str]:
    """Python files below `directory` that are not wanted any more: an older version of the package had them."""
    wanted = {str(entry["path"]) for entry in files}
    top = root / directory.lstrip("/")
    present = (f"/{path.relative_to(root)}" for path in sorted(top.rglob("*.py")))
    return [path for path in present if path not in wanted]


def units(names: Sequence[str], run: Runner) -> dict[str, Unit] | None:
    """What systemd knows about units, by the name that was asked for; None when it does not answer."""
    if not names:
        return {}
    code, text = run(["systemctl", "show", f"--property={_PROPERTIES}", "--", *names])
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.strip().split("\n\n")
    ]
    if code or len(blocks) != len(names):
        return None
    return {
        name: Unit(
            load=block.get("LoadState", ""),
            active=block.get("ActiveState", ""),
            enabled=block.get("UnitFileState", ""),
            stale=block.get("NeedDaemonReload") == "yes",
        )
        for name, block in zip(names, blocks)
    }
