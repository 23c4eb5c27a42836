"""Power caps that the ladder holds: lowered, re-checked each cycle, given back, and marked for role gpu_power."""

from __future__ import annotations

import os

from . import cap
from .desk import Desk
from .files import replace
from .ladder import Ladder
from .sample import number
from .sysfs import Sysfs


class Caps:
    """One cap a PCI address; watts in µW."""

    def __init__(self, io: Sysfs, desk: Desk, runtime: str, wanted: str) -> None:
        """`runtime` is where caps/ lies, `wanted` where role gpu_power leaves its wish."""
        self.io = io
        self.desk = desk
        self.folder = f"{runtime}/caps"
        self.wanted = wanted
        self.held: dict[str, int] = {}  # value to give back
        self.errors: dict[str, str] = {}

    def take_up(self) -> None:
        """Find the caps that an earlier process lowered; the markers tell what to give back."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return
        for pci in names:
            try:
                with open(f"{self.folder}/{pci}", encoding="ascii") as stream:
                    _, found = stream.read().split()
                if int(found) > 0:
                    self.held[pci] = int(found)
            except (OSError, ValueError):
                continue

    def ask(self, pci: str, ladder: Ladder | None, engaged: bool) -> str:
        """Start this cycle's job for a card, if there is one; returns its key or an empty text.

        A card without a ladder is one that the configuration does not name any more: its cap is given back.
        """
        key = f"cap {pci}"
        if engaged and ladder is not None:
            target = int(ladder.card.config.cap_watts * 1e6)
            self.desk.ask(key, lambda: cap.lower(self.io, pci, target))
        elif pci in self.held:
            value = self._wish(pci)
            self.desk.ask(key, lambda: cap.restore(self.io, pci, value))
        else:
            return ""
        return key

    def take(self, pci: str, ladder: Ladder | None, engaged: bool, now: float) -> None:
        """Take the answer to `ask`."""
        key = f"cap {pci}"
        result = self.desk.answer(key, now)
        if result is None:
            # Nothing came back: the cap is not known to be in force.
            if engaged and ladder is not None and self.desk.busy_for(key, now) > self.desk.interval:
                ladder.cap_error = "the card does not answer"
            return
        assert isinstance(result, cap.CapResult)  # noqa: S101 - told to mypy
        if engaged and ladder is not None:
            ladder.cap_error = result.error
            ladder.cap_floor = result.target / 1e6
            if pci not in self.held and result.found and not result.error:
                self.held[pci] = result.found
                self._mark(pci, result.target, result.found)
        elif not result.error or ladder is None or ladder.card.state == "absent":
            self.held.pop(pci, None)
            self._unmark(pci)
        else:
            self.errors[pci] = result.error

    def _wish(self, pci: str) -> int:
        """What gpu_power wants by now, or what was found."""
        try:
            with open(f"{self.wanted}/{pci}", encoding="ascii") as stream:
                wish = number(stream.read().strip())
        except (OSError, ValueError):
            wish = None
        return int(wish) if wish else self.held[pci]

    def _mark(self, pci: str, target: int, found: int) -> None:
        try:
            os.makedirs(self.folder, exist_ok=True)
            replace(f"{self.folder}/{pci}", f"{target} {found}\n")
        except OSError as error:
            self.errors[pci] = f"{self.folder}: {error.strerror}"

    def _unmark(self, pci: str) -> None:
        try:
            os.unlink(f"{self.folder}/{pci}")
        except OSError:
            return
