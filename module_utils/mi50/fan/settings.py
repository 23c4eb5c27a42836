"""The daemon's configuration from the settings of an inventory. What is valid is the daemon's own business."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


def _named(blower: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A blower whose cards are called by name; an entry that is no list stays as it is, for the daemon to refuse."""
    gpus = blower.get("gpus")
    if not isinstance(gpus, Sequence) or isinstance(gpus, str):
        return dict(blower)
    return {**blower, "gpus": [names.get(gpu, gpu) for gpu in gpus]}


def build(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json.

    `settings`: gpus, blowers, law, ladder, interval, metrics_dir, stop_units. A blower may call a card by its PCI
    address; cards that no entry of `gpus` describes are added and called gpu0, gpu1 … in the order of the addresses.
    """
    gpus = [dict(gpu) for gpu in settings["gpus"]]
    blowers = settings["blowers"]
    described = {str(gpu.get("pci")) for gpu in gpus}
    asked = {str(gpu) for blower in blowers for gpu in blower.get("gpus") or () if _PCI.fullmatch(str(gpu))} - described
    taken = {str(gpu.get("name")) for gpu in gpus}
    free = (name for name in (f"gpu{number}" for number in range(64)) if name not in taken)
    gpus += [{"name": next(free), "pci": address} for address in sorted(asked)]
    for gpu in gpus:
        if settings["stop_units"]:
            gpu.setdefault("stop_units", list(settings["stop_units"]))
    names = {str(gpu.get("pci")): str(gpu.get("name")) for gpu in gpus}
    config: dict[str, Any] = {
        "version": 1,
        "gpus": gpus,
        "blowers": [_named(blower, names) for blower in blowers],
        "paths": {"metrics": f"{settings['metrics_dir']}/mi50_fand.prom" if settings["metrics_dir"] else ""},
    }
    for part in ("law", "ladder"):
        if settings[part]:
            config[part] = dict(settings[part])
    if settings["interval"]:
        config["interval"] = settings["interval"]
    return config
