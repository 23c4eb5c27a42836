"""hwmon and RAS of one card: power limits and error counters."""

from __future__ import annotations

import re
from pathlib import Path

from .attributes import Attributes, names
from .schema import PowerCap, RasCount

_HWMON = re.compile(r"hwmon([0-9]{1,6})", re.ASCII)
_COUNT = re.compile(r"(ue|ce): ([0-9]{1,20})", re.ASCII)
_COUNTER = re.compile(r"([a-z0-9_]{1,40})_err_count", re.ASCII)


def find_hwmon(device: Path) -> Path | None:
    """Return the card's hwmon directory. Its number changes between boots, so it is looked up under the device."""
    found = [(int(match.group(1)), name) for name in names(device / "hwmon") if (match := _HWMON.fullmatch(name))]
    return device / "hwmon" / min(found)[1] if found else None


def _watts(attributes: Attributes, name: str, what: str) -> int | None:
    microwatts = attributes.integer(name, what)
    return None if microwatts is None else round(microwatts / 1000000)


def read_power_cap(attributes: Attributes) -> PowerCap:
    """Return the power limit and its range in watts (hwmon has microwatts)."""
    return PowerCap(
        current=_watts(attributes, "power1_cap", "Power cap"),
        min=_watts(attributes, "power1_cap_min", "Lowest power cap"),
        max=_watts(attributes, "power1_cap_max", "Highest power cap"),
        default=_watts(attributes, "power1_cap_default", "Default power cap"),
    )


def read_ras(device: Path, problems: list[str]) -> dict[str, RasCount] | None:
    """Return error counters by block (umc is the HBM); None where the card or driver has no RAS."""
    attributes = Attributes(device / "ras", problems)
    counters: dict[str, RasCount] = {}
    for name in names(attributes.directory):
        matched = _COUNTER.fullmatch(name)
        if not matched:
            continue
        block = matched.group(1)
        text = attributes.text(name, f"Error count of {block}")
        counts = {match.group(1): int(match.group(2)) for match in _COUNT.finditer(text or "")}
        if text is not None and len(counts) != len(("ue", "ce")):
            attributes.note(f"Error count of {block} unknown: {name} reads {text[:40]!r}.")
        counters[block] = RasCount(correctable=counts.get("ce"), uncorrectable=counts.get("ue"))
    return counters or None
