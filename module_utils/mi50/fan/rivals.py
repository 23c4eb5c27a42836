"""Other programs that govern fans. Two that write the same header fight, and neither can promise anything."""

from __future__ import annotations

from collections.abc import Mapping

from .state import RUNS, Unit

# unit -> program. The card-only tools (LACT, amdfan) are no rivals: an MI50 has no fan of its own to govern.
RIVALS: dict[str, str] = {
    "fancontrol.service": "fancontrol (lm-sensors)",
    "thinkfan.service": "thinkfan",
    "fan2go.service": "fan2go",
    "coolercontrold.service": "CoolerControl",
    "coolercontrol-liqctld.service": "CoolerControl's liquidctl service",
    "afancontrol.service": "afancontrol",
    "hddfancontrol.service": "hddfancontrol",
    "nbfc_service.service": "nbfc-linux",
}


def running(units: Mapping[str, Unit]) -> list[dict[str, str]]:
    """Rivals that are active now or will be after a reboot: unit, program, state and the command that ends them."""
    found = []
    for unit, program in RIVALS.items():
        seen = units.get(unit, Unit())
        if seen.active in RUNS or seen.enabled in ("enabled", "enabled-runtime"):
            state = ", ".join(word for word in (seen.active, seen.enabled) if word)
            found.append(
                {"unit": unit, "program": program, "state": state, "remedy": f"systemctl disable --now {unit}"}
            )
    return found
