"""The chips on the stand-in buses, played from user space: registers, firmware, tachos; the recording of duties.

Everything goes through the stand-in's debugfs files, behind the drivers' backs.
"""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path

from lab.vm.agent.chips import KINDS, Kind, rpm_at

DEBUG = Path("/sys/kernel/debug/standin_smbus")
PERIOD = 0.1
# A look between two bus writes of one driver (nct7802 is taken out of manual mode for well under a millisecond, once a
# second) shows a duty that no blower ever runs at: what counts is what two looks this far apart agree on.
GLANCE = 0.005
GLANCES = 5
# Seconds in which a blower makes 63 % of a change of speed, and what counts as there.
INERTIA = 1.0
SETTLED_RPM = 20


class Chip:
    """One chip on one bus."""

    def __init__(self, bus: int, kind: Kind) -> None:
        """Give the address fresh registers and let it answer."""
        self.kind = kind
        self.bus = bus
        self.folder = DEBUG / f"{bus}-{kind.address:02x}"
        self.stalled: set[int] = set()  # channels (from 1) whose blower stands still
        self.fight = 0.0  # seconds between two times that firmware takes the channels back; 0: never
        self.next_fight = 0.0
        self.rpm: dict[int, float] = {}
        self.played = 0.0
        self.seen = b""
        self.duties: dict[int, int] = {}
        image = bytearray(2048)
        for register, value in kind.fresh.items():
            image[register] = value
        (self.folder / "regs").write_bytes(bytes(image))
        for name, number in zip(("bank_reg", "bank_mask", "bank_from"), kind.banks):
            (self.folder / name).write_text(str(number))
        for name in ("read_error", "write_error", "delay_ms", "writes", "hang", "lose_writes"):
            (self.folder / name).write_text("0")
        (self.folder / "present").write_text("1")
        self.handle = os.open(self.folder / "regs", os.O_RDWR)

    @property
    def name(self) -> str:
        """Such as `0-2e`."""
        return self.folder.name

    def registers(self) -> bytes:
        """The register file as it is."""
        return os.pread(self.handle, 2048, 0)

    def at_rest(self) -> bytes:
        """The register file when nobody is in the middle of changing it."""
        registers = self.registers()
        for _ in range(GLANCES if registers != self.seen else 0):
            time.sleep(GLANCE)
            before, registers = registers, self.registers()
            if registers == before:
                break
        return registers

    def poke(self, values: dict[int, int]) -> None:
        """Change registers behind the driver's back."""
        for register, value in values.items():
            os.pwrite(self.handle, bytes([value]), register)

    def play(self, now: float) -> dict[int, int]:
        """Do what the chip and the firmware do meanwhile; return the effective duty of each channel (from 1)."""
        registers = self.at_rest()
        if self.fight and now >= self.next_fight:
            self.next_fight = now + self.fight
            self.poke(self.kind.take_back(registers))
            registers = self.registers()
        # Most rounds change nothing, and a round costs the emulated processor milliseconds.
        if registers != self.seen:
            self.seen = registers
            self.duties = {n + 1: self.kind.effective(registers, n) for n in range(self.kind.channels)}
            if self.kind.shows_output:
                show = [n for n in range(self.kind.channels) if self.kind.automatic(registers, n)]
                self.poke({self.kind.duty_register(n): self.duties[n + 1] for n in show})
        self.turn(now - self.played if self.played else 0.0)
        self.played = now
        return self.duties

    def turn(self, seconds: float) -> None:
        """Let the blowers follow their duties, and the tachos the blowers."""
        for channel, duty in self.duties.items():
            wanted = 0 if channel in self.stalled else rpm_at(duty)
            known = self.rpm.get(channel)
            if known == wanted:
                continue
            if not wanted:  # blocked, or without power: it does not coast
                known = wanted
            rpm = wanted + ((wanted if known is None else known) - wanted) * math.exp(-seconds / INERTIA)
            self.rpm[channel] = wanted if abs(rpm - wanted) < SETTLED_RPM else rpm
            self.poke(self.kind.tacho(channel - 1, int(self.rpm[channel])))


class Plant(threading.Thread):
    """Plays all chips ten times a second and remembers every change of an effective duty."""

    def __init__(self) -> None:
        """Start with no chip."""
        super().__init__(daemon=True)
        self.chips: dict[str, Chip] = {}
        self.events: list[tuple[float, str, int, int]] = []  # monotonic s, chip, channel, duty
        self.ticks = 0
        self.lock = threading.Lock()
        self.shown: dict[tuple[str, int], int] = {}

    def add(self, bus: int, kind: str) -> Chip:
        """Put a fresh chip on a bus."""
        with self.lock:
            chip = Chip(bus, KINDS[kind])
            self.chips[chip.name] = chip
            return chip

    def tick(self) -> None:
        """One round."""
        now = time.monotonic()
        with self.lock:
            self.ticks += 1
            for chip in self.chips.values():
                for channel, duty in chip.play(now).items():
                    if self.shown.get((chip.name, channel)) != duty:
                        self.shown[chip.name, channel] = duty
                        self.events.append((now, chip.name, channel, duty))

    def run(self) -> None:
        """For ever."""
        while True:
            self.tick()
            time.sleep(PERIOD)

    def history(self, since: float) -> list[tuple[float, str, int, int]]:
        """Changes since a time, and before them the state at that time."""
        with self.lock:
            start: dict[tuple[str, int], tuple[float, str, int, int]] = {}
            later = []
            for event in self.events:
                if event[0] < since:
                    start[event[1], event[2]] = (since, *event[1:])
                else:
                    later.append(event)
            return [*start.values(), *later]
