"""What mapping and calibration found out, as variables of a host. Runs on the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Unclear(Exception):
    """Nothing that can be written down; the text says what was seen and what to do."""


def blowers(channels: Sequence[Mapping[str, Any]], gpus: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Blowers from what `mi50-fand map --json` saw, and remarks for the reader.

    A channel that no tacho answered is left out: it may have no fan, or the processor's at full speed. A card is
    cooled by the channels that made it cooler. Idle cards stay as they are: then the only card of the node, or all
    of them, are written for the reader to sort out. Raises Unclear when no channel has a fan.
    """
    found, remarks = [], []
    for channel in channels:
        place = f"{channel['chip']} pwm{channel['channel']}"
        if not channel["tachos"]:
            remarks.append(f"{place}: {channel['remark']}")
            continue
        felt = list(channel["cards"])
        if not felt:
            felt = list(gpus)
            remarks.append(f"{place}: no card became cooler; all are written down for it, remove what it does not cool")
        tacho = channel["tachos"][0]
        if tacho["device"] != channel["device"]:
            remarks.append(f"{place}: the tacho of another chip answered ({tacho['device']} fan{tacho['tacho']})")
        found.append(
            {
                "name": f"fan{channel['channel']}" if len(channels) < 2 else f"{channel['chip']}-{channel['channel']}",
                "device": channel["device"],
                "chip": channel["chip"],
                "channel": channel["channel"],
                "tacho": tacho["tacho"] if tacho["device"] == channel["device"] else None,
                "gpus": felt,
            }
        )
    cooling = [entry for entry in found if len(gpus) < 2 or entry["gpus"] != list(gpus)]
    if not found:
        raise Unclear(
            "no tacho answered on any channel: connect the blower's tacho wire, load the fan chip's driver "
            "(fan_control_modules), set the header to PWM mode in the BIOS; " + "; ".join(remarks)
        )
    return cooling or found, remarks


def calibrated(present: Sequence[Mapping[str, Any]], measured: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Blowers with what `mi50-fand calibrate --json` measured; a floor that is higher than measured stays.

    Raises Unclear for a blower that is not among the host's.
    """
    names = [str(blower.get("name")) for blower in present]
    strange = [name for name in measured if name not in names]
    if strange:
        raise Unclear(f"measured {', '.join(strange)}, but fan_control_blowers has {', '.join(names) or 'none'}")
    merged = []
    for blower in present:
        news = dict(measured.get(str(blower.get("name")), {}))
        if "floor" in news:
            news["floor"] = max(float(news["floor"]), float(blower.get("floor") or 25))
        merged.append({**blower, **news})
    return merged
