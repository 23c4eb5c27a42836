"""Finds out which channel drives which blower by raising one after the other; no card is starved for it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from . import detect
from .bench import Aborted, Bench, Refused
from .config import BlowerConfig
from .files import LockHeld
from .gpu import Snapshot, attempt
from .sample import number
from .sysfs import Sysfs

if TYPE_CHECKING:
    import argparse
    from typing import Any

ABORTED, USAGE, LOCKED, REFUSED = 1, 2, 3, 4
START_LIMIT = 60.0
BASE_PWM = 128  # half speed: what channels at a fixed duty come down to while one is raised
RISE_RPM = 150.0
RISE_SHARE = 1.15
FALL_KELVIN = 2.0


def candidates(io: Sysfs, device: str, channel: int) -> list[BlowerConfig]:
    """Every channel, or the one asked for, as a blower without cards."""
    found = []
    for chip in detect.chips(io):
        for entry in chip["channels"]:
            if device in {"", chip["device"]} and channel in {0, entry["channel"]}:
                name = f"{chip['chip']} pwm{entry['channel']}"
                found.append(BlowerConfig(_document(name, chip, entry["channel"])))
    return found


def _document(name: str, chip: dict[str, Any], channel: int) -> dict[str, Any]:
    keys = {"name": name, "device": chip["device"], "chip": chip["chip"], "channel": channel}
    rest: dict[str, Any] = {
        "mode": "controlled",
        "gpus": [],
        "tacho": None,
        "floor": 25,
        "calibration": [],
        "arm_auto": False,
    }
    return {**keys, **rest}


class Found:
    """State of a channel as it was found, to be given back: it may be the processor's fan."""

    def __init__(self, io: Sysfs, base: str, channel: int) -> None:
        """Read mode and duty."""
        self.io = io
        self.stem = f"{base}/pwm{channel}"
        mode, duty = number(attempt(io, f"{self.stem}_enable")), number(attempt(io, self.stem))
        self.mode = None if mode is None else int(mode)
        self.duty = None if duty is None else int(duty)

    def automatic(self) -> bool:
        """Whether the firmware's curve drives it."""
        return self.mode is not None and self.mode >= 2

    def give_back(self) -> bool:
        """Mode and duty as found, read back; False when that is not proven, and full speed is due instead."""
        try:
            if self.duty is not None and not self.automatic():
                self.io.write(self.stem, self.duty)
            if self.mode is not None:
                self.io.write(f"{self.stem}_enable", self.mode)
        except OSError:
            return False
        return number(attempt(self.io, f"{self.stem}_enable")) == self.mode


def _tachos(bench: Bench, chips: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    found = {}
    for chip in chips:
        for entry in chip["tachos"]:
            found[chip["device"], entry["tacho"]] = bench.rpm(chip["base"], entry["tacho"])
    return found


def _temps(bench: Bench) -> dict[str, float]:
    """Edge temperature by PCI address: the heatsink, which is what a blower moves."""
    found = {}
    for pci, reader in bench.readers.items():
        snapshot = bench.do(pci, reader.read)
        milli = number(snapshot.temps.get("edge", 0)) if isinstance(snapshot, Snapshot) else None
        if milli is not None:
            found[pci] = milli / 1000
    return found


def probe(bench: Bench, blower: BlowerConfig, chips: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Raise one channel and see what answers. Raises Aborted."""
    speeds, temps = _tachos(bench, chips), _temps(bench)
    bench.set(blower, 255)
    bench.wait(seconds)
    raised, cooled = _tachos(bench, chips), _temps(bench)
    answers = [
        {"device": key[0], "tacho": key[1], "before": before, "after": raised[key]}
        for key, before in speeds.items()
        if raised[key] - before >= RISE_RPM and raised[key] >= before * RISE_SHARE
    ]
    changes = {pci: cooled[pci] - temps[pci] for pci in temps if pci in cooled}
    felt = [pci for pci, change in changes.items() if change <= -FALL_KELVIN and change == min(changes.values())]
    remark = "" if answers else "no tacho answered: no blower here, no tacho wire, or at full speed before"
    return {
        "device": blower.device,
        "chip": blower.chip,
        "channel": blower.channel,
        "tachos": sorted(answers, key=lambda answer: answer["before"] - answer["after"]),
        "cards": felt,
        "temperature_changes": changes,
        "remark": remark,
    }


def session(bench: Bench, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Probe every candidate. Channels with a fixed duty come down to half meanwhile; automatic ones stay automatic."""
    chips = detect.chips(bench.io)
    hottest = bench.hottest()
    if hottest > START_LIMIT:
        raise Refused(f"a card is at {hottest:.0f} °C; wait until it is below {START_LIMIT:.0f}")
    blowers = candidates(bench.io, options.device, options.channel)
    if not blowers:
        raise Refused("there is no such channel; `mi50-fand detect` lists them")
    bases = {chip["device"]: chip["base"] for chip in chips}
    found = {blower.key: Found(bench.io, bases[blower.device], blower.channel) for blower in blowers}
    for blower in blowers:
        if not found[blower.key].automatic():
            bench.set(blower, BASE_PWM)
    bench.wait(options.seconds)
    results = []
    for blower in blowers:
        state = found[blower.key]
        results.append(probe(bench, blower, chips, options.seconds))
        if state.automatic() and bench.do(f"chip {blower.device}", state.give_back) is True:
            bench.owned.pop(blower.key, None)  # as it was: perhaps the processor's fan
        elif not state.automatic():
            bench.set(blower, BASE_PWM)
        bench.wait(options.seconds)
    return results


def run(options: argparse.Namespace) -> int:
    """Print what answered; the exit code of the verb."""
    io = Sysfs(options.sysfs_root)
    pcis = [card["pci"] for card in detect.cards(io)]
    bench = Bench(io, "/run/mi50-fand", options.proc_root, pcis)
    try:
        with bench:
            results = session(bench, options)
    except Refused as error:
        print(f"mi50-fand: {error}", file=sys.stderr)
        return REFUSED
    except LockHeld as error:
        print(f"mi50-fand: {error}; stop the daemon first: systemctl stop mi50-fand", file=sys.stderr)
        return LOCKED
    except (Aborted, OSError) as error:
        print(f"mi50-fand: aborted: {error}; every touched channel was set to full speed", file=sys.stderr)
        return ABORTED
    print(json.dumps({"channels": results}, indent=2) if options.json else table(results))
    return ABORTED if bench.left else 0


def table(results: list[dict[str, Any]]) -> str:
    """The findings for people."""
    lines = []
    for entry in results:
        place = f"{entry['chip']} pwm{entry['channel']} ({entry['device']})"
        tachos = ", ".join(f"fan{t['tacho']} {t['before']:.0f} -> {t['after']:.0f} RPM" for t in entry["tachos"])
        cards = ", ".join(entry["cards"])
        lines.append(f"{place}: {tachos or entry['remark']}{f'; cools {cards}' if cards else ''}")
    return "\n".join(lines)
