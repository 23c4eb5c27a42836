"""Control laws beside mi50-fand's, on the same thermal model: what fancontrol and thinkfan compute, second by second.

They are models of the laws (curve, levels, interval), not the programs: those run on real drivers in tests/vm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from lab.plant.model import STEP, Die, Fan
from lab.plant.rig import IDLE, Rig

Load = Callable[[float], float]
SETTLE = 300.0  # s at idle before a run counts


class Row:
    """One second: temperatures in °C, duty and speed in %, power in W."""

    __slots__ = ("duty", "junction", "power", "speed", "time")

    def __init__(self, time: float, junction: float, duty: float, speed: float, power: float) -> None:
        """Keep the values."""
        self.time = time
        self.junction = junction
        self.duty = duty
        self.speed = speed
        self.power = power


class Law(ABC):
    """Something that cools one card in virtual time."""

    name = ""

    @abstractmethod
    def run(self, seconds: float, load: Load, dies_at: float | None = None) -> list[Row]:
        """Settle at idle, then follow the load; the blower dies at that second."""


class Fand(Law):
    """This daemon, the engine itself."""

    name = "mi50-fand"

    def __init__(self, document: dict[str, Any]) -> None:
        """An example configuration with one card."""
        self.document = document
        self.orders: list[tuple[float, list[str]]] = []
        self.capped: float | None = None

    def run(self, seconds: float, load: Load, dies_at: float | None = None) -> list[Row]:
        """Settle, then run. The engine's units are what draws the load: stopped, the card idles."""
        rig = Rig(self.document)
        rig.run(SETTLE, IDLE)
        begin = rig.time
        fan = rig.fans[rig.blower().config.key]
        rows = []
        while (now := rig.time - begin) < seconds:
            if dies_at is not None and now >= dies_at:
                fan.dead = True
            if not rig.commands.ordered:
                rig.die.load = load(now)
            rig.cycle()
            if self.capped is None and rig.die.cap < 200:
                self.capped = now
            rows.append(Row(now, rig.die.junction, rig.duty(), fan.speed * 100, rig.die.power))
        self.orders = [(when - begin, words) for when, words in rig.commands.ordered]
        return rows


class Simple(Law):
    """A law that looks at the junction every so many seconds and writes a duty. Nobody looks at the blower."""

    interval = 10

    def __init__(self) -> None:
        """Start quiet."""
        self.duty = 0.25

    @abstractmethod
    def decide(self, junction: float) -> float:
        """Duty of 0 to 1 at a temperature in °C."""

    def run(self, seconds: float, load: Load, dies_at: float | None = None) -> list[Row]:
        """Settle, then run."""
        fan = Fan(self.duty)
        die = Die([fan], IDLE)
        rows = []
        for second in range(round(SETTLE + seconds)):
            now = second - SETTLE
            die.load = load(now) if now >= 0 else IDLE
            fan.dead = dies_at is not None and now >= dies_at
            if second % self.interval == 0:
                self.duty = self.decide(int(die.junction))
            fan.duty = self.duty
            for _ in range(round(1 / STEP)):
                fan.step(STEP)
                die.step(STEP)
            if now >= 0:
                rows.append(Row(now, die.junction, self.duty * 100, fan.speed * 100, die.power))
        return rows


class FancontrolLike(Simple):
    """Linear from MINTEMP 45 to MAXTEMP 90, MINPWM 64, INTERVAL 10 (what pwmconfig writes)."""

    name = "fancontrol-like"

    def decide(self, junction: float) -> float:
        """The line."""
        return max(64.0, min(255.0, 64 + (junction - 45) * (255 - 64) / (90 - 45))) / 255


class ThinkfanLike(Simple):
    """Levels 80/130/190/255 at 55/65/75 °C with 5 K of overlap, every 5 s (its default cycle)."""

    name = "thinkfan-like"
    interval = 5
    levels = ((80, 0.0, 58.0), (130, 53.0, 68.0), (190, 63.0, 78.0), (255, 73.0, 999.0))

    def __init__(self) -> None:
        """Start at the lowest level."""
        super().__init__()
        self.level = 0

    def decide(self, junction: float) -> float:
        """Up while above a level's upper bound, down while below its lower one."""
        while junction > self.levels[self.level][2]:
            self.level += 1
        while junction < self.levels[self.level][1]:
            self.level -= 1
        return self.levels[self.level][0] / 255


def peak(rows: list[Row]) -> float:
    """Highest junction in °C."""
    return max(row.junction for row in rows)


def travel(rows: list[Row]) -> float:
    """Noise travel: sum of the changes of the duty, in full ranges."""
    return sum(abs(after.duty - before.duty) for before, after in zip(rows, rows[1:], strict=False)) / 100


def mean(rows: list[Row]) -> float:
    """Mean duty in %."""
    return sum(row.duty for row in rows) / len(rows)


def first_above(rows: list[Row], limit: float) -> float | None:
    """Seconds until the junction is at a limit in °C, or None."""
    return next((row.time for row in rows if row.junction >= limit), None)
