"""The machine as a workbench: chips, cards, time, and what the pins of the chips really did."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.vm.agent.chips import KINDS, Kind
from lab.vm.machine import CARDS, AgentError, Machine

# The field note's cards: idle, and under load with too little air.
IDLE = {"edge": 38_000, "junction": 40_000, "mem": 38_000, "power": 20_000_000}
HOT = {"edge": 82_000, "junction": 98_000, "mem": 84_000, "power": 225_000_000}
FULL = 255
# Bits of a card's error_mask and hang_mask.
TEMPERATURES = 0b00111
EVERYTHING = 0b11111
EIO, EPERM = 5, 1


@dataclass
class Card:
    """One simulated MI50."""

    machine: Machine
    pci: str

    def set(self, **values: int) -> float:
        """Set temperatures in m°C, power in µW, errors, hangs; the guest's time."""
        return float(self.machine.call("gpu_set", self.pci, **values))

    def get(self, name: str) -> int:
        """One of its values."""
        return int(self.machine.call("gpu_get", self.pci, name))

    def fail(self, errno: int, mask: int = EVERYTHING) -> float:
        """Let reads fail; 0 ends it."""
        return self.set(error_mask=mask, error=errno)

    def hang(self, mask: int = EVERYTHING, *, killable: bool = False) -> float:
        """Let reads hang until `release`."""
        return self.set(hang_mask=mask, hang=2 if killable else 1)

    def release(self) -> float:
        """End a hang."""
        return self.set(hang=0)

    @property
    def device(self) -> str:
        """Its directory in sysfs."""
        return f"/sys/bus/pci/devices/{self.pci}"

    def remove(self) -> float:
        """Take it off the bus."""
        return float(self.machine.call("write", f"{self.device}/remove", "1"))

    def rescan(self) -> None:
        """Look for it on the bus again."""
        self.machine.call("write", "/sys/bus/pci/rescan", "1")

    def rebind(self) -> float:
        """Unbind the driver and bind it again: the hwmon gets another number."""
        self.machine.call("write", "/sys/bus/pci/drivers/amdgpu/unbind", self.pci)
        return float(self.machine.call("write", "/sys/bus/pci/drivers/amdgpu/bind", self.pci))


@dataclass
class Chip:
    """One fan chip under its real driver."""

    machine: Machine
    bus: int
    kind: Kind

    @property
    def name(self) -> str:
        """Name for the agent, such as `0-2e`."""
        return f"{self.bus}-{self.kind.address:02x}"

    @property
    def hwmon(self) -> str:
        """Such as `hwmon2`; raises AgentError while no driver is bound."""
        return str(self.machine.call("hwmon_of", self.bus, self.kind.name))

    @property
    def device(self) -> str:
        """Device below /sys, as the daemon's configuration names it."""
        return str(self.machine.call("device_of", self.bus, self.kind.name))

    def path(self, attribute: str) -> str:
        """Full path of an attribute, in hwmonN or in hwmonN/device."""
        return str(self.machine.call("attribute", self.bus, self.kind.name, attribute))

    def read(self, attribute: str) -> int:
        """Read an attribute through the driver."""
        return int(self.machine.call("read", self.path(attribute)))

    def write(self, attribute: str, value: int | str) -> float:
        """Write an attribute through the driver; raises AgentError with the errno."""
        return float(self.machine.call("write", self.path(attribute), f"{value}\n"))

    def errno(self, attribute: str, value: int | str) -> int:
        """Errno of a write, 0 when the driver calls it a success."""
        try:
            self.write(attribute, value)
        except AgentError as error:
            return error.errno or -1
        return 0

    def set(self, **values: int) -> float:
        """Set the bus's behaviour: read_error, write_error, lose_writes, delay_ms, hang, present, writes."""
        return float(self.machine.call("chip_set", self.name, **values))

    def get(self, name: str) -> int:
        """One of those, such as `writes`: bytes that drivers wrote."""
        return int(self.machine.call("chip_get", self.name, name))

    def registers(self) -> bytes:
        """The register file behind the driver."""
        return bytes.fromhex(self.machine.call("chip_registers", self.name))

    def duties(self) -> dict[int, int]:
        """Effective duty of each channel now."""
        return {int(channel): duty for channel, duty in self.machine.call("duties", self.name).items()}

    def take_back(self) -> float:
        """Firmware takes all channels back, once."""
        return float(self.machine.call("take_back", self.name))

    def fight(self, seconds: float) -> float:
        """Firmware takes all channels back every so many seconds; 0 ends it."""
        return float(self.machine.call("chip_play", self.name, fight=seconds))

    def stall(self, *channels: int) -> float:
        """Let blowers stand still; none: all turn."""
        return float(self.machine.call("chip_play", self.name, stalled=list(channels)))

    def unbind(self) -> float:
        """The chip goes: its i2c device and its hwmon vanish."""
        self.machine.call("unbind_chip", self.bus, self.kind.name)
        return float(self.machine.call("now"))

    def bind(self) -> str:
        """The chip comes back; the hwmon it gets."""
        return str(self.machine.call("bind_chip", self.bus, self.kind.name))


@dataclass(frozen=True)
class Trace:
    """Effective duties since a moment: seconds after it, channel, duty; the state at the moment comes first."""

    changes: tuple[tuple[float, int, int], ...]

    def of(self, channel: int) -> list[tuple[float, int]]:
        """One channel's changes."""
        return [(when, duty) for when, which, duty in self.changes if which == channel]

    def reached(self, channel: int, level: int) -> float | None:
        """Seconds until the duty was at `level` or above for the first time."""
        return next((when for when, duty in self.of(channel) if duty >= level), None)

    def lowest(self, channel: int, start: float = 0.0) -> int:
        """Lowest duty from `start` on."""
        before = [duty for when, duty in self.of(channel) if when <= start]
        return min([*before[-1:], *(duty for when, duty in self.of(channel) if when > start)])

    def last(self, channel: int) -> int:
        """Duty at the end."""
        return self.of(channel)[-1][1]

    def mean(self, channel: int, start: float, end: float) -> float:
        """Mean duty over time."""
        total, changes = 0.0, [*self.of(channel), (end, 0)]
        for (when, duty), (until, _) in zip(changes, changes[1:]):
            total += duty * max(0.0, min(until, end) - max(when, start))
        return total / (end - start)


@dataclass
class Bench:
    """Everything a test needs of one machine."""

    machine: Machine
    cards: tuple[Card, Card] = field(init=False)

    def __post_init__(self) -> None:
        """Take the machine's cards."""
        first, second = (Card(self.machine, pci) for pci in CARDS)
        self.cards = (first, second)

    def chip(self, kind: str, bus: int = 0, *, bind: bool = True) -> Chip:
        """Put a fresh chip on a bus."""
        self.machine.call("add_chip", bus, kind, bind=bind)
        return Chip(self.machine, bus, KINDS[kind])

    def now(self) -> float:
        """The guest's clock."""
        return float(self.machine.call("now"))

    def wait(self, seconds: float) -> float:
        """Let the guest's time pass."""
        return float(self.machine.call("sleep", seconds))

    def until(self, moment: float) -> None:
        """Let the guest's time pass until a moment."""
        self.wait(max(0.0, moment - self.now()))

    def trace(self, chip: Chip, since: float) -> Trace:
        """What the pins of a chip did since a moment of the guest."""
        events = self.machine.call("history", since)
        return Trace(tuple((when - since, channel, duty) for when, name, channel, duty in events if name == chip.name))

    def all_cards(self, **values: int) -> float:
        """Set values on both cards."""
        moment = 0.0
        for card in self.cards:
            moment = card.set(**values)
        return moment

    def property(self, unit: str, name: str) -> str:
        """A property of a systemd unit."""
        return self.machine.run("systemctl", "show", "-P", name, unit).strip()

    def pid(self, unit: str) -> int:
        """Main process of a unit, 0 when there is none."""
        return int(self.property(unit, "MainPID"))

    def signal(self, unit: str, signal: str) -> float:
        """Send a signal to the main process of a unit; the guest's time."""
        self.machine.run("kill", f"-{signal}", str(self.pid(unit)))
        return self.now()

    def journal(self, unit: str) -> str:
        """What a unit said."""
        return self.machine.run("journalctl", "-o", "cat", "--no-pager", "-u", unit)

    def process_state(self, pid: int) -> str:
        """One letter as in /proc/PID/stat over all threads, worst first: D, T, R, S; empty when it is gone."""
        with contextlib.suppress(AgentError):
            states = self.machine.run("sh", "-c", f"sed 's/.*) \\(.\\).*/\\1/' /proc/{pid}/task/*/stat").split()
            return next((letter for letter in "DTRS" if letter in states), "")
        return ""

    def wait_for(self, unit: str, states: Sequence[str], seconds: float) -> str:
        """Wait until a unit is in one of some states (ActiveState); the state it has at the end."""
        end = self.now() + seconds
        while (state := self.property(unit, "ActiveState")) not in states and self.now() < end:
            self.wait(0.2)
        return state
