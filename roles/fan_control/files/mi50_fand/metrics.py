"""The last cycle in Prometheus' text format, for node-exporter's textfile collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ladder import RUNGS

if TYPE_CHECKING:
    from typing import Any

    Samples = list[tuple[str, object]]

STATES = ("ok", "degraded", "emergency")


def _family(name: str, kind: str, text: str, samples: Samples) -> str:
    """Samples are labels and a value; one without a value is left out."""
    lines = [f"# HELP mi50_fand_{name} {text}", f"# TYPE mi50_fand_{name} {kind}"]
    for labels, value in samples:
        if isinstance(value, (int, float)):
            lines.append(f"mi50_fand_{name}{{{labels}}} {value + 0}" if labels else f"mi50_fand_{name} {value + 0}")
    return "\n".join(lines) + "\n"


def _per(entries: list[dict[str, Any]], kind: str, key: str) -> Samples:
    return [(f'{kind}="{entry["name"]}"', entry[key]) for entry in entries]


def text(data: dict[str, Any], totals: dict[tuple[str, str], int]) -> str:
    """`data` as status.collect gives it, `totals` the counted alarms by subject and code."""
    gpus, blowers = data["gpus"], data["blowers"]
    sensors = [(f'gpu="{g["name"]}",sensor="{name}"', s) for g in gpus for name, s in g["sensors"].items()]
    rungs: Samples = [(f'gpu="{gpu["name"]}"', RUNGS.index(gpu["rung"])) for gpu in gpus]
    active: Samples = [(f'subject="{a["subject"]}",code="{a["code"]}"', 1) for a in data["alarms"]]
    counted: Samples = [(f'subject="{subject}",code="{code}"', count) for (subject, code), count in totals.items()]
    families: list[tuple[str, str, str, Samples]] = [
        ("state", "gauge", "0 ok, 1 degraded, 2 emergency.", [("", STATES.index(data["state"]))]),
        ("last_cycle_boottime_seconds", "gauge", "CLOCK_BOOTTIME of the last cycle.", [("", data["boottime"])]),
        ("cycles_total", "counter", "Completed control cycles.", [("", data["cycles"])]),
        ("temperature_celsius", "gauge", "Last believed value.", [(label, s["temp"]) for label, s in sensors]),
        ("limit_celsius", "gauge", "Critical temperature in force.", [(label, s["limit"]) for label, s in sensors]),
        ("sensor_valid", "gauge", "1 when the value is believed now.", [(label, s["valid"]) for label, s in sensors]),
        ("power_watts", "gauge", "Power of the card.", _per(gpus, "gpu", "power")),
        ("demand_percent", "gauge", "Duty that the card demands.", _per(gpus, "gpu", "demand")),
        ("ladder_rung", "gauge", "0 none, 1 power cap, 2 units stopped, 3 power off.", rungs),
        ("duty_percent", "gauge", "Duty that was written.", _per(blowers, "blower", "duty")),
        ("fan_rpm", "gauge", "Speed of the blower.", _per(blowers, "blower", "rpm")),
        ("verified", "gauge", "1 when the last write was verified.", _per(blowers, "blower", "verified")),
        ("alarm", "gauge", "Alarms that are active.", active),
        ("alarms_total", "counter", "Alarms since the daemon started.", counted),
    ]
    return "".join(_family(*family) for family in families)
