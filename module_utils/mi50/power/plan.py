"""Cards with what they allow and have, against what is wanted. Pure reading; a shell script on the node writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# PCI ids of Vega 20: MI50/MI60 (66a0, 66a1), Pro VII (66a1 too), Radeon VII (66af), and the engineering ids between.
_VEGA20 = re.compile(r"0x66a[0-7f]", re.ASCII)
LEVELS = ("auto", "low", "high", "profile_standard", "profile_peak")
MICRO = 1_000_000


class Refused(Exception):
    """A wish that a card cannot take; one line a mistake, each with the way out."""


class Card(NamedTuple):
    """One card. Caps in microwatts, as the driver gives them; None where it gives none."""

    pci: str
    cap: int | None
    lowest: int | None
    highest: int | None
    default: int | None
    level: str | None


def _word(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _word(path)
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def cards(sysfs_root: Path) -> Iterator[Card]:
    """Every gfx906 card on the bus, in the order of the addresses."""
    for device in sorted((sysfs_root / "bus/pci/devices").glob("*")):
        if _word(device / "vendor") != "0x1002" or not _VEGA20.fullmatch(_word(device / "device") or ""):
            continue
        hwmon = next(iter(sorted(device.glob("hwmon/hwmon*"))), device / "hwmon/none")
        yield Card(
            device.name,
            _number(hwmon / "power1_cap"),
            _number(hwmon / "power1_cap_min"),
            _number(hwmon / "power1_cap_max"),
            _number(hwmon / "power1_cap_default"),
            _word(device / "power_dpm_force_performance_level"),
        )


def wishes(found: list[Card], options: Mapping[str, Any]) -> dict[str, tuple[int | None, str | None]]:
    """Address -> (cap in microwatts, level) of each card that something is wanted of. Raises Refused."""
    known = {card.pci: card for card in found}
    special: Mapping[str, Any] = options["cards"]
    problems = [
        f"gpu_power_cards names {pci}, which is no gfx906 card here; there are {', '.join(known) or 'none'}"
        for pci in special
        if pci not in known
    ]
    wanted = {}
    for pci, card in known.items():
        own = special.get(pci) or {}
        problems += [
            f"gpu_power_cards[{pci}] has {key}; it takes cap_watts and level"
            for key in own
            if key not in ("cap_watts", "level")
        ]
        watts, level = own.get("cap_watts", options["cap_watts"]), own.get("level", options["level"])
        problems += _mistakes(card, watts, level)
        if watts is not None or level is not None:
            wanted[pci] = (int(watts) * MICRO if isinstance(watts, int) else None, level)
    if problems:
        raise Refused("\n".join(problems))
    return wanted


def _mistakes(card: Card, watts: object, level: object) -> list[str]:
    found = []
    if level is not None and level not in LEVELS:
        found.append(f"{card.pci}: level {level!r} is none of {', '.join(LEVELS)}")
    if watts is None:
        return found
    if not isinstance(watts, int) or isinstance(watts, bool):
        return [*found, f"{card.pci}: cap {watts!r} is no whole number of watts"]
    if card.cap is None or card.highest is None:
        return [
            *found,
            f"{card.pci}: shows no power cap; is amdgpu loaded for it? Leave gpu_power_cap_watts unset for it",
        ]
    # Powerplay reports 0 as the lowest; no card runs on that, and the driver refuses it later.
    lowest = max(card.lowest or 0, MICRO)
    if not lowest <= watts * MICRO <= card.highest:
        allowed = f"{lowest // MICRO} to {card.highest // MICRO} W"
        found.append(f"{card.pci}: a cap of {watts} W is outside of what the card allows ({allowed})")
    return found


def listing(wanted: Mapping[str, tuple[int | None, str | None]]) -> str:
    """The list that the script on the node reads."""
    rows = (f"{pci}\t{'-' if cap is None else cap}\t{level or '-'}\n" for pci, (cap, level) in sorted(wanted.items()))
    return "# Managed by Ansible (role gpu_power): PCI address, cap in microwatts, level\n" + "".join(rows)


def off(found: list[Card], wanted: Mapping[str, tuple[int | None, str | None]], fan_runtime: Path) -> list[str]:
    """Cards that are not as wanted, a sentence each. A cap that the fan daemon's ladder holds counts as wanted."""
    problems = []
    for card in found:
        cap, level = wanted.get(card.pci, (None, None))
        if cap is not None and card.cap != cap and not (fan_runtime / "caps" / card.pci).exists():
            problems.append(f"{card.pci}: power cap is {(card.cap or 0) / MICRO:g} W, not {cap / MICRO:g}")
        if level is not None and card.level != level:
            problems.append(f"{card.pci}: performance level is {card.level}, not {level}")
    return problems
