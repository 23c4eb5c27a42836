"""What a node shows of its cooling: fan chips, the daemon's heartbeat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PWM = re.compile(r"pwm([1-9][0-9]?)", re.ASCII)
# Their channel drives the card's own fan, or nothing at all; a header it is not.
DISPLAY_DRIVERS = ("amdgpu", "radeon", "nouveau", "i915", "xe")


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _chips(sysfs_root: Path) -> Iterator[dict[str, Any]]:
    for hwmon in sorted((sysfs_root / "class/hwmon").glob("hwmon*")):
        name = _word(hwmon / "name") or _word(hwmon / "device/name")
        if name.startswith(DISPLAY_DRIVERS):
            continue
        for directory in (hwmon, hwmon / "device"):
            try:
                matches = [match for entry in directory.iterdir() if (match := _PWM.fullmatch(entry.name))]
            except OSError:
                continue
            if matches:
                numbers = sorted(int(match.group(1)) for match in matches)
                device = (hwmon / "device").resolve()
                inside = device.is_relative_to(sysfs_root.resolve())
                where = str(device.relative_to(sysfs_root.resolve())) if inside else str(device)
                yield {"name": name, "device": where, "channels": numbers}
                break


def chips(sysfs_root: Path) -> list[dict[str, Any]]:
    """Fan chips with at least one channel: name, device (real path below the root), channel numbers."""
    return list(_chips(sysfs_root))


def heartbeat(path: Path, uptime: Path) -> dict[str, Any] | None:
    """Age in seconds and state of the daemon's last verified cycle; None when there is none that can be read.

    Both files count CLOCK_BOOTTIME, so a clock that is set, or a suspend, does not matter.
    """
    words, now = _word(path).split(), _word(uptime).split()
    try:
        age = float(now[0]) - float(words[0])
    except (IndexError, ValueError):
        return None
    return {"age_s": round(age, 1), "state": words[1] if len(words) > 1 else ""}
