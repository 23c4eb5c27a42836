"""Runs mi50-fand's engine on the plant in virtual time, second by second."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mi50_fand.blower import Blower
from mi50_fand.commands import Commands
from mi50_fand.config import Config, parse
from mi50_fand.desk import Desk
from mi50_fand.engine import AGAIN_SECONDS, Engine
from mi50_fand.journal import Journal

from lab.plant.model import STEP, Die, Fan
from lab.plant.standin_chip import Card, Chip
from lab.plant.standin_sysfs import MemorySysfs, VirtualClock, VirtualPool

IDLE = 20.0


class Recorder(Commands):
    """Keeps what the ladder orders, and does it to the model."""

    def __init__(self, rig: Rig) -> None:
        """Nothing ordered."""
        super().__init__()
        self.rig = rig
        self.ordered: list[tuple[float, list[str]]] = []
        self.obeyed = True

    def start(self, words: list[str], now: float) -> str:
        """Note it once; a stopped engine draws idle power, a machine that is off none."""
        if not any(words == before for _, before in self.ordered):
            self.ordered.append((self.rig.time, words))
        if self.obeyed:
            for die in self.rig.dies.values():
                die.load = 0.0 if "poweroff" in words else IDLE
        return ""

    def words(self) -> list[str]:
        """Second word of each order: stop, poweroff."""
        return [order[1] for _, order in self.ordered]


class Rig:
    """Cards, blowers and one fan chip as a configuration names them."""

    def __init__(self, document: dict[str, Any], chip: type[Chip] = Chip, spare: int = 1) -> None:
        """`spare` more channels of the chip exist that the configuration does not own."""
        self.document = document
        self.config: Config = parse(json.dumps(document))
        self.io = MemorySysfs()
        self.clock = VirtualClock()
        self.start = self.clock.now
        self.fans = {blower.key: Fan(0.25) for blower in self.config.blowers}
        self.dies: dict[str, Die] = {}
        self.cards: dict[str, Card] = {}
        for number, gpu in enumerate(self.config.gpus):
            fans = [self.fans[blower.key] for blower in self.config.cooled_by(gpu.name)]
            self.dies[gpu.pci] = Die(fans)
            self.cards[gpu.pci] = Card(self.io, self.dies[gpu.pci], gpu.pci, f"hwmon{5 + number}")
        owned = {b.channel: self.fans[b.key] for b in self.config.blowers if b.controlled}
        others = {max(owned, default=0) + 1 + number: Fan(0.25) for number in range(spare)}
        first = next((blower for blower in self.config.blowers if blower.device), None)
        device, name = (first.device, first.chip) if first else ("devices/platform/nct6775.656", "nct6798")
        self.chip = chip(self.io, owned | others, device, name)
        self.lines: list[str] = []
        self.commands = Recorder(self)
        self.firmware: Callable[[], None] = lambda: None  # what the board does, ten times a second
        self.trace: list[dict[str, Any]] = []
        self.boot()

    def boot(self) -> None:
        """A new daemon process on the same machine."""
        journal = Journal(self.lines.append)
        self.engine = Engine(self.config, self.io, self.clock, VirtualPool(self.clock), journal, self.commands)

    @property
    def time(self) -> float:
        """Seconds since the rig was built."""
        return self.clock.now - self.start

    @property
    def die(self) -> Die:
        """The only card, or the first."""
        return next(iter(self.dies.values()))

    @property
    def card(self) -> Card:
        """The hwmon of the only card, or of the first."""
        return next(iter(self.cards.values()))

    def blower(self, name: str = "") -> Blower:
        """The daemon's view of a blower by name, or of the first."""
        blowers = self.engine.blowers.values()
        return next(blower for blower in blowers if name in {"", blower.config.name})

    def duty(self, name: str = "") -> float:
        """Effective duty of a blower's channel in %, as the chip drives it."""
        channel = self.chip.channels[self.blower(name).config.channel]
        return channel.effective() / 2.55

    def alarms(self) -> set[str]:
        """Codes of the active faults."""
        return {code for _, code in self.engine.journal.active}

    def said(self, code: str) -> bool:
        """Whether a code was ever journalled."""
        return any(f">{code} " in line for line in self.lines)

    def desk(self) -> Desk:
        """A desk of its own, for work that runs instead of the daemon."""
        return Desk(VirtualPool(self.clock), 2.0)

    def idle(self, seconds: float) -> None:
        """Let the plant go on without the daemon."""
        for _ in range(max(1, round(seconds / STEP))):
            self.step()
        self.clock.now += seconds

    def step(self) -> None:
        """Let a tenth of a second pass in the plant alone."""
        self.firmware()
        self.chip.step(STEP)
        for die in self.dies.values():
            die.step(STEP)

    def cycle(self) -> bool:
        """One cycle of the daemon, then one second of the plant."""
        healthy = self.engine.cycle()
        if not self.engine.restless():
            self.idle(self.config.interval)
            return healthy
        # As the daemon's loop does: asserted between two cycles.
        for _ in range(round(self.config.interval / AGAIN_SECONDS)):
            self.idle(AGAIN_SECONDS)
            self.engine.again()
        return healthy

    def run(self, seconds: float, load: float | Callable[[float], float] | None = None) -> list[dict[str, Any]]:
        """Let time pass and return the trace; `load` in W a card, or a function of the seconds since this call."""
        begin = self.time
        trace = []
        while self.time - begin < seconds - 1e-6:
            if load is not None:
                watts = load(self.time - begin) if callable(load) else load
                for die in self.dies.values():
                    die.load = watts
            healthy = self.cycle()
            trace.append(self._row(healthy))
        self.trace += trace
        return trace

    def _row(self, healthy: bool) -> dict[str, Any]:
        return {
            "time": self.time,
            "healthy": healthy,
            "junction": max(die.junction for die in self.dies.values()),
            "power": sum(die.power for die in self.dies.values()),
            "duty": {b.config.name: b.duty for b in self.engine.blowers.values()},
            "rungs": {ladder.card.config.name: ladder.rung for ladder in self.engine.ladders.values()},
        }

    def settle(self) -> None:
        """Idle until the start's full speed is over."""
        self.run(150, IDLE)
