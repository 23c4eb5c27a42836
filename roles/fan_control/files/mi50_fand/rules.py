"""What a schema cannot say about a configuration. Every line names the key, the value and the way out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .curve import Points

# Critical temperatures in °C that no file and no driver may raise: a stock Vega20 table (VBIOS 113-D1640700-100,
# ThotspotLimit, TedgeLimit, ThbmLimit). Users patch tables upwards, and the driver then reports what they wrote.
CEILINGS = {"edge": 100.0, "junction": 105.0, "mem": 94.0}
# A curve must reach full speed this many K below the critical temperature.
FULL_BELOW = 10.0


def points(data: list[list[float]]) -> Points:
    """A curve from its JSON form."""
    return tuple((float(x), float(y)) for x, y in data)


def check(data: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Mistakes and warnings of a document that fits the schema."""
    problems: list[str] = []
    warnings: list[str] = []
    _unique(data["gpus"], "gpus", ("name", "pci"), problems)
    _unique(data["blowers"], "blowers", ("name",), problems)
    for number, gpu in enumerate(data["gpus"]):
        _gpu(gpu, f"gpus[{number}]", problems, warnings)
    for number, blower in enumerate(data["blowers"]):
        _blower(blower, f"blowers[{number}]", data, problems, warnings)
    _coverage(data, problems)
    if not data["ladder"]["power_cap"] and any(b["mode"] == "monitored" for b in data["blowers"]):
        problems.append("ladder.power_cap: false leaves nothing to help a card with a monitored blower; remove it")
    return problems, warnings


def _unique(entries: list[dict[str, Any]], place: str, keys: tuple[str, ...], problems: list[str]) -> None:
    for key in keys:
        seen: dict[object, int] = {}
        for number, entry in enumerate(entries):
            first = seen.setdefault(entry[key], number)
            if first != number:
                problems.append(
                    f'{place}[{number}].{key}: "{entry[key]}" is already {place}[{first}]; give each its own'
                )


def _curve(data: list[list[float]], place: str, full_at: float | None, problems: list[str]) -> None:
    """Rising in both directions, in range, and at full speed early enough."""
    for (x0, y0), (x1, y1) in pairwise(data):
        if x1 <= x0 or y1 < y0:
            problems.append(f"{place}: [{x1:g}, {y1:g}] after [{x0:g}, {y0:g}]; points must rise, a duty never falls")
    for x, y in data:
        if not 0 <= y <= 100 or x < 0:
            problems.append(f"{place}: [{x:g}, {y:g}] is out of range; duties are 0 to 100 %")
    if full_at is not None and (data[-1][1] < 100 or _reaches_full(data) > full_at):
        reached = f"at {_reaches_full(data):g} °C" if data[-1][1] >= 100 else "nowhere"
        problems.append(f"{place}: reaches 100 % {reached}; it must by {full_at:g} °C, {FULL_BELOW:g} K below critical")


def _reaches_full(data: list[list[float]]) -> float:
    return next((x for x, y in data if y >= 100), float("inf"))


def _gpu(gpu: dict[str, Any], place: str, problems: list[str], warnings: list[str]) -> None:
    for sensor, ceiling in CEILINGS.items():
        limit = min(ceiling, gpu["limits"].get(sensor, ceiling))
        _curve(gpu["curves"][sensor], f"{place}.curves.{sensor}", limit - FULL_BELOW, problems)
    _curve(gpu["power_curve"], f"{place}.power_curve", None, problems)
    if len(gpu["power_curve"]) == 1:
        problems.append(f"{place}.power_curve: one point is no curve; give two, or an empty list to switch it off")
    if gpu["sensors"]["junction"] == "optional" and gpu["sensors"]["edge"] == "optional":
        problems.append(f"{place}.sensors: edge and junction are both optional; one of them must be mandatory")
    if not gpu["stop_units"]:
        warnings.append(f"{place}.stop_units: empty; after the power cap the ladder goes straight on to power-off")


def _blower(blower: dict[str, Any], place: str, data: dict[str, Any], problems: list[str], warnings: list[str]) -> None:
    names = [gpu["name"] for gpu in data["gpus"]]
    for name in blower["gpus"]:
        if name not in names:
            problems.append(f'{place}.gpus: "{name}" is no card of this file; use one of {", ".join(names)}')
    if blower["mode"] == "monitored":
        _monitored(blower, place, problems, warnings)
        return
    for key in ("device", "chip", "channel"):
        if not blower.get(key):
            problems.append(f"{place}.{key}: missing; `mi50-fand detect` lists devices, `map` finds the channel")
    if blower["chip"] == "amdgpu":
        problems.append(
            f"{place}.chip: amdgpu; an MI50 has no fan, the driver's pwm1 leads nowhere: name the mainboard's chip"
        )
    _calibration(blower, place, problems, warnings)
    others = [b for b in data["blowers"] if b is not blower and b["mode"] != "monitored"]
    same = [b["name"] for b in others if (b["device"], b.get("channel")) == (blower["device"], blower.get("channel"))]
    if same and blower["device"]:
        problems.append(
            f"{place}.channel: {blower.get('channel')} of {blower['device']} belongs to {same[0]} too; "
            "one channel is one blower, list every card it cools in its gpus"
        )


def _monitored(blower: dict[str, Any], place: str, problems: list[str], warnings: list[str]) -> None:
    for key in ("channel", "calibration"):
        if blower.get(key):
            problems.append(f"{place}.{key}: a monitored blower is never written to; remove it, or mode monitored")
    if blower["tacho"] and not (blower["device"] and blower["chip"]):
        problems.append(f"{place}.tacho: {blower['tacho']} of which chip? Give device and chip, or null")
    if not blower["tacho"]:
        warnings.append(f"{place}.tacho: null; that the blower stands still shows in the card's temperature alone")


def _calibration(blower: dict[str, Any], place: str, problems: list[str], warnings: list[str]) -> None:
    curve = blower["calibration"]
    for (duty0, rpm0), (duty1, rpm1) in pairwise(curve):
        if duty1 <= duty0 or rpm1 < rpm0:
            problems.append(
                f"{place}.calibration: [{duty1:g}, {rpm1:g}] after [{duty0:g}, {rpm0:g}]; RPM must rise with the duty: "
                "the header's PWM is inverted or the tacho is another fan's; run `map` and `calibrate` again"
            )
    if curve and (len(curve) < 2 or curve[-1][0] < 100 or curve[-1][1] <= 0):
        problems.append(f"{place}.calibration: must end at 100 % with an RPM above 0; run `calibrate`")
    if not blower["tacho"]:
        warnings.append(f"{place}.tacho: null; stalls go unseen until the card heats, margins are 5 K stricter")
    elif not curve:
        warnings.append(f"{place}.calibration: empty; a slow blower goes unseen, run `calibrate`")
    if blower["start"] > blower["floor"]:
        problems.append(
            f"{place}.floor: {blower['floor']:g} % is below start ({blower['start']:g} %): after a stop the blower "
            f"would stand; write at least {blower['start']:g}"
        )


def _coverage(data: dict[str, Any], problems: list[str]) -> None:
    cooled = {name for blower in data["blowers"] for name in blower["gpus"]}
    for number, gpu in enumerate(data["gpus"]):
        if gpu["name"] not in cooled:
            problems.append(f'gpus[{number}].name: no blower cools "{gpu["name"]}"; name it in a blower\'s gpus')
