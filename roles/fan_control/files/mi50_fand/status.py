"""The last cycle as data, as a table, and as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ladder import RUNGS

if TYPE_CHECKING:
    from typing import Any

    from .engine import Engine

# Told, but no reason to call the daemon degraded.
REMARKS = ("LIMIT_CLAMPED", "CHIP_RENAMED")


def state(engine: Engine) -> str:
    """ok, degraded or emergency."""
    if engine.emergency():
        return "emergency"
    return "degraded" if any(code not in REMARKS for _, code in engine.journal.active) else "ok"


def collect(engine: Engine, healthy: bool) -> dict[str, Any]:
    """Everything that `status --json` shows. Temperatures in °C, power in W, duties in %, speeds in RPM."""
    now = engine.clock.monotonic()
    return {
        "version": 1,
        "state": state(engine),
        "verified": healthy,
        "boottime": round(engine.clock.boottime(), 1),
        "cycles": engine.cycles,
        "gpus": [_card(engine, pci) for pci in engine.cards],
        "blowers": [_blower(engine, key, now) for key in engine.blowers],
        "alarms": [
            {"subject": subject, "code": code, "text": fault.text, "seconds": round(now - fault.since)}
            for (subject, code), fault in engine.journal.active.items()
        ],
    }


def _card(engine: Engine, pci: str) -> dict[str, Any]:
    card, ladder = engine.cards[pci], engine.ladders[pci]
    return {
        "name": card.config.name,
        "pci": pci,
        "state": card.state,
        "sensors": {
            name: {"temp": sensor.temp, "limit": card.limits[name], "valid": sensor.valid, "hot": sensor.hot}
            for name, sensor in card.sensors.items()
        },
        "power": card.power,
        "demand": round(card.demand, 1),
        "strict": card.strict,
        "thermal_full": card.thermal_full,
        "rung": RUNGS[ladder.rung],
        "cause": ladder.cause if ladder.rung else "",
    }


def _blower(engine: Engine, key: str, now: float) -> dict[str, Any]:
    blower = engine.blowers[key]
    return {
        "name": blower.config.name,
        "mode": "controlled" if blower.config.controlled else "monitored",
        "gpus": blower.config.gpus,
        "duty": round(blower.duty, 1) if blower.config.controlled else None,
        "rpm": blower.tacho.rpm,
        "verified": blower.verified,
        "cooling": blower.cooling(now),
    }


def _number(value: object, unit: str) -> str:
    return f"{value:.0f}{unit}" if isinstance(value, (int, float)) else "-"


def _rows(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table(data: dict[str, Any], age: float) -> str:
    """The data for people; `age` of the heartbeat in seconds."""
    cards = [["GPU", "state", "edge", "junction", "mem", "power", "demand", "ladder"]]
    for gpu in data["gpus"]:
        temps = []
        for name in ("edge", "junction", "mem"):
            sensor = gpu["sensors"][name]
            mark = "" if sensor["valid"] else "?"
            temps.append(f"{_number(sensor['temp'], '')}{mark}/{sensor['limit']:.0f} °C")
        rung = gpu["rung"] if gpu["rung"] != "none" else "full" if gpu["thermal_full"] else "-"
        row = [f"{gpu['name']} {gpu['pci']}", gpu["state"], *temps, _number(gpu["power"], " W")]
        cards.append([*row, _number(gpu["demand"], " %"), rung])
    blowers = [["blower", "mode", "cools", "duty", "speed", "verified", "cooling"]]
    for fan in data["blowers"]:
        row = [fan["name"], fan["mode"], ",".join(fan["gpus"]), _number(fan["duty"], " %"), _number(fan["rpm"], " RPM")]
        blowers.append([*row, "yes" if fan["verified"] else "NO", fan["cooling"]])
    alarms = [f"{a['code']} {a['subject']}: {a['text']} (for {a['seconds']} s)" for a in data["alarms"]]
    head = f"mi50-fand: {data['state']}, last cycle {age:.0f} s ago, {data['cycles']} cycles"
    return "\n".join([head, "", *_rows(cards), "", *_rows(blowers), "", *(alarms or ["no alarms"])])
