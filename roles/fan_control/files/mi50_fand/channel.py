"""One pwm channel: finds it, writes it, reads it back. Runs in a worker; judges nothing."""

from __future__ import annotations

import errno

from . import hwmon
from .config import BlowerConfig
from .gpu import GONE, Raw, attempt
from .sample import number
from .sysfs import Sysfs

FULL_PWM = 255
MANUAL = 1
MANUAL_WORD = "1"  # stands for the mode of a channel that has none


class Order:
    """What a channel shall do this cycle; `pwm` 0 to 255."""

    __slots__ = ("full", "prime", "pwm", "toggle")

    def __init__(self, pwm: int, full: bool = False, toggle: bool = False, prime: bool = False) -> None:
        """`full`: the driver's own full-speed mode (0) where it has one. `toggle`: leave manual mode and come back."""
        self.pwm = FULL_PWM if full else pwm
        self.full = full
        self.toggle = toggle
        self.prime = prime


class Observation:
    """What one look at a channel saw. Raw values: a word, or an errno."""

    __slots__ = (
        "armed",
        "code",
        "enable_after",
        "enable_before",
        "error",
        "found",
        "fresh",
        "has_enable",
        "order",
        "pwm_after",
        "pwm_before",
        "renamed",
        "rpm",
        "text",
    )

    def __init__(self, order: Order) -> None:
        """Nothing seen; `order` is what was to be done, and may be a cycle older than the newest."""
        self.order = order
        self.found = False
        self.fresh = False  # found anew in this cycle
        self.code = ""
        self.text = ""
        self.renamed = ""
        self.has_enable = True
        self.enable_before: Raw = errno.ENOENT
        self.enable_after: Raw = errno.ENOENT
        self.pwm_before: Raw = errno.ENOENT
        self.pwm_after: Raw = errno.ENOENT
        self.error = 0  # errno of the pwm write that failed twice
        self.rpm: Raw = errno.ENOENT
        self.armed: list[str] = []

    def took(self) -> bool:
        """Whether the read-back says that the order was carried out."""
        order = self.order
        enable = number(self.enable_after) if self.has_enable else MANUAL
        if enable == 0:
            return order.pwm == FULL_PWM
        pwm = number(self.pwm_after)
        # Chips with coarse steps round; a 2 % shortfall is not a lost write.
        return self.found and enable == MANUAL and pwm is not None and abs(pwm - order.pwm) <= 5


class Channel:
    """Owner of one pwmN. `controlled` False means that nothing is ever written."""

    def __init__(self, io: Sysfs, config: BlowerConfig, look: bool = True) -> None:
        """Nothing is looked up before the first order. `look` False: leave the tacho alone, it may be what hangs."""
        self.io = io
        self.tacho = config.tacho if look else None
        self.config = config
        self.chip: hwmon.Chip | None = None
        self._has_enable = True

    def apply(self, order: Order) -> Observation:
        """Carry out an order and look. Raises nothing that missing or sick hardware can cause."""
        seen = Observation(order)
        if not self._resolve(seen):
            return seen
        assert self.chip is not None  # noqa: S101 - told to mypy
        pwm = f"{self.chip.base}/pwm{self.config.channel}"
        if self.config.controlled:
            if seen.fresh:
                self._has_enable = self.io.exists(f"{pwm}_enable")
            seen.has_enable = self._has_enable
            if order.prime or seen.fresh:
                self._prime(seen)
            seen.pwm_before = attempt(self.io, pwm)
            seen.enable_before = attempt(self.io, f"{pwm}_enable") if seen.has_enable else MANUAL_WORD
            self._write(pwm, order, seen)
            seen.enable_after = attempt(self.io, f"{pwm}_enable") if seen.has_enable else MANUAL_WORD
        if self.tacho:
            seen.rpm = attempt(self.io, f"{self.chip.base}/fan{self.tacho}_input")
        if seen.error in GONE or (self.config.controlled and seen.pwm_after in GONE):
            self.chip = None  # found anew at the next cycle
            seen.found = False
            seen.code, seen.text = "CHIP_MISSING", f"{self.config.chip} went away"
        return seen

    def _resolve(self, seen: Observation) -> bool:
        """Make sure that `chip` is still the configured device; a foreign chip is never written."""
        if self.chip is not None and attempt(self.io, f"{self.chip.base}/name") != self.chip.name:
            self.chip = None
        if self.chip is None:
            try:
                self.chip = hwmon.find(self.io, self.config.device, self.config.chip)
            except hwmon.NotFound as error:
                seen.code, seen.text = error.code, str(error)
                return False
            except OSError as error:
                seen.code, seen.text = "CHIP_MISSING", f"{self.config.device}: {error.strerror}"
                return False
            seen.fresh = True
        if self.chip.name != self.config.chip:
            seen.renamed = self.chip.name
        seen.found = True
        return True

    def _prime(self, seen: Observation) -> None:
        """Before the first write: no neighbour may fall to 0, and the chip's own table shall mean full speed."""
        assert self.chip is not None  # noqa: S101
        try:
            names = self.io.list(self.chip.base)
        except OSError:
            return
        if not seen.has_enable:
            # Manual-only controllers send all channels with each command, and start from a cache of zeros.
            for name in names:
                if name.startswith("pwm") and name[3:].isdigit():
                    self._try(f"{self.chip.base}/{name}", FULL_PWM)
        elif self.config.arm_auto:
            stem = f"pwm{self.config.channel}_auto_point"
            for name in names:
                if name.startswith(stem) and name.endswith("_pwm"):
                    path = f"{self.chip.base}/{name}"
                    if self._try(path, FULL_PWM) and number(attempt(self.io, path)) == FULL_PWM:
                        seen.armed.append(name)

    def _try(self, path: str, value: int) -> bool:
        try:
            self.io.write(path, value)
        except OSError:
            return False
        return True

    def _write(self, pwm: str, order: Order, seen: Observation) -> None:
        """Mode first: adt7475 acknowledges a pwm write while it is in auto, and drops it."""
        for _attempt in range(2):
            if seen.has_enable:
                if order.full and self._try(f"{pwm}_enable", 0):
                    self._try(pwm, FULL_PWM)  # what the register holds when somebody sets manual
                    seen.error = 0
                    seen.pwm_after = attempt(self.io, pwm)
                    return
                if order.toggle and not self._try(f"{pwm}_enable", 0):
                    # nct7802 caches the mode: a second 1 never reaches the chip, and 0 is refused.
                    self._try(f"{pwm}_enable", 2)
                self._try(f"{pwm}_enable", MANUAL)
            try:
                self.io.write(pwm, order.pwm)
            except OSError as error:
                seen.error = error.errno or errno.EIO
                seen.pwm_after = attempt(self.io, pwm)
                continue
            seen.error = 0
            seen.pwm_after = attempt(self.io, pwm)
            if number(seen.pwm_after) == order.pwm:
                return
        # Both attempts failed or were rounded; what the read-back says is judged elsewhere.
