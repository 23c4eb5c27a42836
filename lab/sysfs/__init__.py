"""STAND-IN for the part of /sys that a kernel with amdgpu and KFD would show.

It replaces: the PCI devices (root port, the card's own PCIe switch, the GPU), drm, hwmon (the cards' and a board's
fan chips), RAS, KFD topology and /sys/module/amdgpu of a machine with Vega 20 cards, as plain files and the kernel's
symlinks, with values reported from real cards (sources beside each value in `model.py`).

It does not prove: that amdgpu would bind, that a value changes under load, that a write is accepted or has an effect,
any errno a real attribute returns (EPERM in reset, ENODATA), that a fan turns or a chip obeys (tests/vm),
permissions, uevents, or timing.

    from lab.sysfs import build
    build(Path("/srv/mi50-lab/sys"), "two-mi50")      # a tree for `amdgpu_info: sysfs_root: /srv/mi50-lab/sys`

    python3 -m lab.sysfs --out DIR --preset two-mi50
    python3 -m lab.sysfs --out DIR --card mi50:32 --card mi50:16bar --seed node1
    python3 -m lab.sysfs --preset two-mi50 --list-devices      # lines for mknod: path type major minor

Standard library only: it runs on a bare Debian 12 node.
"""

from __future__ import annotations

from .fans import FAN_CHIPS, FanChip
from .model import CARDS, Card, Host
from .presets import PRESETS, host_of
from .standin_tree import build, build_host, device_nodes

__all__ = ["CARDS", "FAN_CHIPS", "PRESETS", "Card", "FanChip", "Host", "build", "build_host", "device_nodes", "host_of"]
