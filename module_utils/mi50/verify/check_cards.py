"""Checks of the cards' live values. Pure."""

from __future__ import annotations

from ..preflight.model import FAIL, OK, SKIP, WARN, Check
from .model import Card, Seen

_NEAR = 5.0  # degrees below the driver's limit where the card starts to slow down: the clocks fall before the limit
_PLAUSIBLE = (-20.0, 125.0)  # degrees Celsius; others are a sensor that does not work


def check_sensors(seen: Seen) -> Check:
    """Every card tells its temperatures: without the junction's nothing can be cooled by reason."""
    title, wanted = "Sensors", "edge, junction and mem of every card"
    if not seen.cards:
        return Check("card.sensors", title, SKIP, "no card")
    broken = [
        f"{card.address} {name} {_shown(card.temperatures[name])}" for card in seen.cards for name in _silent(card)
    ]
    if not broken:
        return Check("card.sensors", title, OK, f"{len(seen.cards)} cards", wanted)
    remedy = (
        "The driver gives no plausible value: power the machine off and on; until then the fans must run at full speed"
    )
    return Check("card.sensors", title, FAIL, ", ".join(broken), wanted, remedy)


def _shown(value: float | None) -> str:
    return "unreadable" if value is None else f"{value:.0f} °C"


def _silent(card: Card) -> list[str]:
    low, high = _PLAUSIBLE
    return [name for name, value in card.temperatures.items() if value is None or not low < value < high]


def check_heat(seen: Seen) -> Check:
    """No card is at the temperature at which its driver slows it down."""
    title = "Temperature"
    hot: list[str] = []
    near: list[str] = []
    most: float | None = None
    for card in seen.cards:
        for name, value in card.temperatures.items():
            limit = card.limits.get(name)
            if value is None or limit is None or name in _silent(card):
                continue
            most = value if most is None else max(most, value)
            text = f"{card.address} {name} {value:.0f} of {limit:.0f} °C"
            (hot if value >= limit else near if value >= limit - _NEAR else []).append(text)
    remedy = (
        "Air: docs/cooling.md; `mi50-fand status`; a lower gpu_power_cap_watts. The card is slow now, or about to be"
    )
    if hot or near:
        return Check("card.heat", title, FAIL if hot else WARN, ", ".join(hot or near), "below the limit", remedy)
    if most is None:
        return Check("card.heat", title, SKIP, "no temperature with a limit")
    return Check("card.heat", title, OK, f"at most {most:.0f} °C")


def check_memory(seen: Seen) -> Check:
    """No card has counted a memory error that could not be corrected."""
    title = "Memory errors"
    known = [card for card in seen.cards if card.errors is not None]
    if not known:
        return Check("card.memory", title, SKIP, "the driver counts none")
    bad = [f"{card.address}: {card.errors}" for card in known if card.errors]
    if not bad:
        return Check("card.memory", title, OK, "no uncorrectable error", "0")
    remedy = (
        "Reboot and look again; if the number comes back, the card's memory is failing and results cannot be trusted"
    )
    return Check("card.memory", title, FAIL, ", ".join(bad), "0", remedy)


CARD_CHECKS = {"card.sensors": check_sensors, "card.heat": check_heat, "card.memory": check_memory}
