"""Lists cards, fan chips, channels, tachos and rivals. Reads only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import hwmon, limits, rivals
from .config import SENSORS
from .gpu import GpuReader, attempt
from .sample import number
from .sysfs import Sysfs

if TYPE_CHECKING:
    from typing import Any

RIVAL = 4
VENDOR = "0x1002"
# Vega 20 as Instinct MI50/MI60 and Radeon Pro VII / Radeon VII: the cards of gfx906.
GFX906 = ("0x66a0", "0x66a1", "0x66a2", "0x66a3", "0x66a4", "0x66a7", "0x66af")


def cards(io: Sysfs) -> list[dict[str, Any]]:
    """Every AMD card with an amdgpu hwmon, and every gfx906 without one. Temperatures in °C."""
    try:
        addresses = io.list("bus/pci/devices")
    except OSError:
        return []
    found = []
    for pci in addresses:
        device = f"bus/pci/devices/{pci}"
        if attempt(io, f"{device}/vendor") != VENDOR:
            continue
        snapshot = GpuReader(io, pci).read()
        kind = str(attempt(io, f"{device}/device"))
        gfx906 = kind in GFX906
        if not gfx906 and snapshot.state == "no_driver":
            continue  # sound functions, bridges
        temps = {name: number(snapshot.temps.get(name, 0)) for name in SENSORS}
        found.append(
            {
                "pci": pci,
                "device": kind,
                "gfx906": gfx906,
                "state": snapshot.state,
                "unique_id": snapshot.unique_id,
                "temps": {name: None if milli is None else milli / 1000 for name, milli in temps.items()},
                "limits": {name: limits.limit(name, snapshot.crit.get(name, 0), None)[0] for name in SENSORS},
            }
        )
    return found


def _numbers(names: list[str], prefix: str, suffix: str) -> list[int]:
    middles = [n[len(prefix) : len(n) - len(suffix)] for n in names if n.startswith(prefix) and n.endswith(suffix)]
    return sorted(int(middle) for middle in middles if middle.isdigit())


def chips(io: Sysfs) -> list[dict[str, Any]]:
    """Every chip with a pwm channel or a tacho, but amdgpu's: the pwm1 of a card without a fan leads nowhere."""
    found = []
    for chip in hwmon.chips(io):
        if chip.name == "amdgpu":
            continue
        try:
            names = io.list(chip.base)
        except OSError:
            continue
        channels = [
            {
                "channel": n,
                "pwm": _value(attempt(io, f"{chip.base}/pwm{n}")),
                "enable": _value(attempt(io, f"{chip.base}/pwm{n}_enable")),
            }
            for n in _numbers(names, "pwm", "")
        ]
        tachos = [
            {"tacho": n, "rpm": _value(attempt(io, f"{chip.base}/fan{n}_input"))}
            for n in _numbers(names, "fan", "_input")
        ]
        if channels or tachos:
            found.append(
                {
                    "device": chip.device,
                    "chip": chip.name,
                    "hwmon": chip.hwmon,
                    "base": chip.base,
                    "channels": channels,
                    "tachos": tachos,
                }
            )
    return found


def _value(raw: str | int) -> int | None:
    value = number(raw)
    return None if value is None else int(value)


def collect(io: Sysfs, proc_root: str) -> dict[str, Any]:
    """What `detect --json` prints."""
    return {"gpus": cards(io), "chips": chips(io), "rivals": rivals.running(proc_root)}


def table(data: dict[str, Any]) -> str:
    """The same for people."""
    lines = []
    for gpu in data["gpus"]:
        temps = ", ".join(f"{n} {t:.0f} °C" for n, t in gpu["temps"].items() if t is not None) or "no temperatures"
        lines.append(f"card {gpu['pci']} {gpu['device']} {gpu['state']}: {temps}")
    for chip in data["chips"]:
        lines.append(f"chip {chip['chip']} at {chip['device']} ({chip['hwmon']} today)")
        lines += [f"  pwm{c['channel']}: {c['pwm']}, mode {c['enable']}" for c in chip["channels"]]
        lines += [f"  fan{t['tacho']}: {t['rpm']} RPM" for t in chip["tachos"]]
    if not data["gpus"]:
        lines.append("no AMD card: is amdgpu loaded?")
    if not data["chips"]:
        lines.append("no fan chip: load its driver (nct6775, it87, …); `sensors-detect` names it")
    lines += [f"RIVAL {name} runs: stop and mask it before mi50-fand starts" for name in data["rivals"]]
    return "\n".join(lines)


def detect(sysfs_root: str, proc_root: str, as_json: bool) -> int:
    """Print it; the exit code says whether a rival runs."""
    data = collect(Sysfs(sysfs_root), proc_root)
    print(json.dumps(data, indent=2) if as_json else table(data))
    return RIVAL if data["rivals"] else 0
