"""Lowers a card's power cap and reads back that it is lower. Runs in a worker."""

from __future__ import annotations

import errno

from .gpu import attempt, find_hwmon
from .sample import number
from .sysfs import Sysfs

# Drivers round to whole watts.
TOLERANCE = 1_000_000


class CapResult:
    """What became of it; µW. `error` says in words why the cap is not in force."""

    __slots__ = ("error", "found", "now", "target")

    def __init__(self, target: int) -> None:
        """Nothing found yet."""
        self.target = target
        self.found = 0
        self.now = 0
        self.error = ""


def lower(io: Sysfs, pci: str, target: int) -> CapResult:
    """Set the cap to `target` µW or the card's minimum above it, unless it is lower already."""
    result = CapResult(target)
    try:
        path = find_hwmon(io, pci)
    except OSError as error:
        result.error = f"no amdgpu hwmon: {error.strerror}"
        return result
    cap = f"{path}/power1_cap"
    least = number(attempt(io, f"{path}/power1_cap_min")) or 0.0
    most = number(attempt(io, f"{path}/power1_cap_max")) or float("inf")
    result.target = target = max(target, int(least))
    result.found = int(number(attempt(io, cap)) or 0)
    if result.found and result.found <= target + TOLERANCE:
        result.now = result.found
        # A card that knows one cap only has none to lower.
        result.error = "minimum and maximum are equal" if least == most else ""
        return result
    try:
        io.write(cap, target)
    except OSError as error:
        result.error = f"power1_cap: {errno.errorcode.get(error.errno or 0, 'failed')}"
        return result
    result.now = int(number(attempt(io, cap)) or 0)
    if not 0 < result.now <= target + TOLERANCE:
        result.error = f"power1_cap reads {result.now} after {target} was written"
    return result


def restore(io: Sysfs, pci: str, value: int) -> CapResult:
    """Give the cap back, in µW."""
    result = CapResult(value)
    try:
        path = find_hwmon(io, pci)
        io.write(f"{path}/power1_cap", value)
    except OSError as error:
        result.error = f"power1_cap: {errno.errorcode.get(error.errno or 0, 'failed')}"
        return result
    result.now = int(number(attempt(io, f"{path}/power1_cap")) or 0)
    return result
