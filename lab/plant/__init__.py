"""A card, its blower and its fan chip in virtual time: thermal model, stand-in sysfs, the rig that runs mi50-fand."""

from __future__ import annotations

import sys
from pathlib import Path

# The daemon is installed on nodes as a folder; here it is imported from where its role keeps it.
_FAND = str(Path(__file__).resolve().parents[2] / "roles" / "fan_control" / "files")
if _FAND not in sys.path:
    sys.path.append(_FAND)
