"""Critical temperatures: what driver, file and silicon allow, the lowest of them."""

from __future__ import annotations

from .gpu import Raw
from .rules import CEILINGS
from .sample import number

# amdgpu's own distance from critical to "asic shutdown" (CTF_OFFSET in vega20_hwmgr.c), K.
EMERGENCY_ABOVE = 5.0
# A driver that reports less than this has no table; full speed at room temperature would be the answer to a 0.
LOWEST = 60.0


def limit(sensor: str, raw: Raw, configured: float | None) -> tuple[float, str]:
    """The critical temperature in °C, and a remark when the driver's value was not taken."""
    ceiling = min(CEILINGS[sensor], configured if configured is not None else CEILINGS[sensor])
    milli = number(raw)
    if milli is None:
        return ceiling, f"{sensor}: driver names no critical temperature, {ceiling:g} °C taken"
    reported = milli / 1000.0
    if LOWEST <= reported <= CEILINGS[sensor]:
        return min(reported, ceiling), ""
    return ceiling, f"{sensor}: driver says critical is {reported:g} °C, {ceiling:g} °C taken"
