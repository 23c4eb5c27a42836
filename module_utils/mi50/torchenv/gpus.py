"""How many gfx906 cards this node can compute on right now."""

from __future__ import annotations

from pathlib import Path

GFX906 = "90006"  # gfx_target_version of Vega 20


def count(sysfs_root: Path) -> int:
    """KFD nodes of gfx906."""
    nodes = sysfs_root / "class/kfd/kfd/topology/nodes"
    found = 0
    for path in nodes.glob("*/properties"):
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            continue
        found += f"gfx_target_version {GFX906}" in lines
    return found


def absent(sysfs_root: Path, dev_root: Path) -> str:
    """Why nothing can be computed yet, with the way out; empty when something can."""
    if not (dev_root / "kfd").exists():
        return f"{dev_root / 'kfd'} is missing: the amdgpu driver is not loaded; reboot, then run again"
    if not count(sysfs_root):
        return f"no gfx906 card in {sysfs_root}/class/kfd: the driver has none; see the preflight report"
    return ""
