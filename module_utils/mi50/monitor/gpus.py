"""The cards as metrics. Label `gpu` is the PCI address, by which everything else of this project names a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Optional, Union

from .cards import Card
from .text import Family, Labels, Number

Value = Optional[Number]
# One value a card, or several with labels of their own.
Seen = Union[Value, list[tuple[Labels, Value]]]


def families(found: Sequence[Card], expected: int | None) -> list[Family]:
    """Every metric of `found`; `expected` is how many cards the inventory says there are."""
    one: list[tuple[str, str, str, Callable[[Card], Seen]]] = [
        ("info", "gauge", "What the card is.", _info),
        ("problems", "gauge", "What the inventory finds wrong with it.", lambda card: len(card.info["problems"])),
        ("temperature_celsius", "gauge", "Temperature.", lambda card: _by("sensor", card.temperatures)),
        ("temperature_limit_celsius", "gauge", "Where it slows down.", lambda card: _by("sensor", card.limits)),
        ("power_watts", "gauge", "Average power.", lambda card: card.power),
        ("power_cap_watts", "gauge", "Power cap in force.", lambda card: card.info["power_cap"]["current"]),
        ("power_cap_default_watts", "gauge", "Its default.", lambda card: card.info["power_cap"]["default"]),
        ("vram_total_bytes", "gauge", "Memory of the card.", lambda card: card.info["vram_total"]),
        ("vram_used_bytes", "gauge", "Memory in use.", lambda card: card.vram_used),
        ("unit_vram_bytes", "gauge", "Memory of ROCm's processes by unit.", lambda card: _by("unit", card.units)),
        ("rocm_processes", "gauge", "Processes that KFD knows on it.", lambda card: card.processes),
        ("busy_percent", "gauge", "Load.", lambda card: _by("part", card.busy)),
        ("clock_hertz", "gauge", "Clock.", lambda card: _by("domain", card.clocks)),
        ("throttled", "gauge", "1 while the card slows down for this reason.", _throttled),
        ("ras_errors_total", "counter", "Errors that the driver has counted.", _ras),
        ("pcie_replays_total", "counter", "Packets that were sent again.", lambda card: card.replays),
        ("pcie_width", "gauge", "Lanes of the narrowest link.", lambda card: card.info["link"]["width"]),
    ]
    counts: list[tuple[Labels, Value]] = [({}, len(found))]
    return [
        Family("mi50_gpu_cards", "gauge", "gfx906 cards that the system sees.", counts),
        Family("mi50_gpu_cards_expected", "gauge", "Cards that the inventory names.", [({}, expected)]),
        *(Family(f"mi50_gpu_{name}", kind, text, _samples(found, value)) for name, kind, text, value in one),
    ]


def _samples(found: Sequence[Card], value: Callable[[Card], Seen]) -> list[tuple[Labels, Value]]:
    samples: list[tuple[Labels, Value]] = []
    for card in found:
        gpu, seen = {"gpu": card.info["pci_address"]}, value(card)
        samples += [
            ({**gpu, **labels}, number) for labels, number in (seen if isinstance(seen, list) else [({}, seen)])
        ]
    return samples


def _by(name: str, values: Mapping[str, Number]) -> list[tuple[Labels, Value]]:
    return [({name: key}, value) for key, value in sorted(values.items())]


def _info(card: Card) -> Seen:
    facts = {"product": card.info["product"], "vbios": card.info["vbios"] or "", "card": card.info["card"] or ""}
    return [(facts, 1)]


def _throttled(card: Card) -> Seen:
    return [({"reason": name}, int(holds)) for name, holds in (card.throttled or {}).items()]


def _ras(card: Card) -> Seen:
    return [
        ({"block": block, "type": kind}, count)
        for block, counts in sorted((card.info["ras"] or {}).items())
        for kind, count in (("correctable", counts["correctable"]), ("uncorrectable", counts["uncorrectable"]))
    ]
