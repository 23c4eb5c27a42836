"""Other fan daemons: two writers on one header end in a silent fight."""

from __future__ import annotations

import os

# comm of a process (15 characters at most) to the name that people know. fancontrol is a bash script: comm is its name.
RIVALS = {
    "fancontrol": "fancontrol",
    "thinkfan": "thinkfan",
    "fan2go": "fan2go",
    "coolercontrold": "CoolerControl",
    "coolercontrol-d": "CoolerControl",
    "control-ofc-dae": "Control-OFC",
    "afancontrol": "afancontrol",
    "nbfc_service": "nbfc-linux",
    "gpu-fan-control": "gpu-fan-control",
}


def running(proc_root: str = "/proc") -> list[str]:
    """Names of the rivals that run, with their process ids: `thinkfan (812)`."""
    found = []
    try:
        names = os.listdir(proc_root)
    except OSError:
        return []
    for pid in names:
        if not pid.isdigit():
            continue
        try:
            with open(f"{proc_root}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                comm = stream.read().strip()
        except OSError:
            continue
        if comm in RIVALS:
            found.append(f"{RIVALS[comm]} ({pid})")
    return sorted(found)
