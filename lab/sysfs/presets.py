"""Named machines."""

from __future__ import annotations

from dataclasses import replace

from .fans import FAN_CHIPS
from .model import CARDS, Card, Host

_MI50 = CARDS["mi50:32"]
# Files an older or hobbled kernel does not offer (virtual functions, lockdown, 5.x kernels).
_MISSING = (
    "mem_info_vis_vram_total",
    "vbios_version",
    "unique_id",
    "numa_node",
    "current_link_width",
    "ras",
    "hwmon/power1_cap_min",
    "hwmon/power1_cap_default",
)

PRESETS: dict[str, Host] = {
    "none": Host((), bmc=True),
    "one-mi50": Host((_MI50,)),
    "two-mi50": Host((_MI50, _MI50)),
    "one-mi50-fan": Host((_MI50,), fan_chips=(FAN_CHIPS["nct6798"],)),
    "two-mi50-fan": Host((_MI50, _MI50), fan_chips=(FAN_CHIPS["nct6798"],)),
    "two-mi50-fans": Host((_MI50, _MI50), fan_chips=tuple(FAN_CHIPS.values())),
    "four-mi50": Host((_MI50,) * 4, bmc=True, cpu_cores=64),
    "bar16": Host((CARDS["mi50:16bar"],)),
    "riser": Host((CARDS["mi50:riser"],)),
    "ryzen-igpu-bmc": Host((_MI50, CARDS["igpu"]), bmc=True),
    "radeon-vii": Host((CARDS["radeon-vii"],)),
    "mi60": Host((CARDS["mi60"],)),
    "pro-vii": Host((CARDS["pro-vii"],)),
    "unbound": Host((replace(_MI50, driver=""),)),
    "half-missing": Host((replace(_MI50, missing=_MISSING),)),
}


def card_of(spec: str) -> Card:
    """Return the card a --card argument names.

    Raises:
        ValueError: the name is not in the catalogue.
    """
    if spec not in CARDS:
        raise ValueError(f"unknown card {spec!r}; known: {', '.join(sorted(CARDS))}")
    return CARDS[spec]


def host_of(preset: str) -> Host:
    """Return a preset.

    Raises:
        ValueError: there is no preset of that name.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[preset]
