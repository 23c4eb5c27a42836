"""Is a temperature to be believed? Invalid means hot: it can raise a duty, never lower one."""

from __future__ import annotations

import errno

from .gpu import GONE, Raw

# °C. Below: 0 and the negative error codes of chips. Above: 511 is what racing readers get; no MI50 is alive at 130.
PLAUSIBLE = (1.0, 130.0)
# °C a second. The die follows its power with 2.5 s and at most 30 K (field model), so 12 K/s is the most a card does.
RISE = 25.0
FALL = 30.0
MISSES_HOT = 3
# A read that hangs or a sensor that is gone has had its whole cycle already.
MISSES_HOT_GONE = 2
GOOD_AFTER_FAULT = 3
GOOD_AFTER_RESET = 10
FALL_CONFIRM = 3
# A value that stands still this long while the power moves this much is no measurement.
STUCK_SECONDS = 60.0
STUCK_WATTS = 50.0
HUNG: Raw = errno.ETIME


def number(raw: Raw) -> float | None:
    """The number of a sysfs word, or None. Python's float() takes nan, inf and 1_0, which no driver writes."""
    if isinstance(raw, int):
        return None
    digits = raw[1:] if raw[:1] == "-" else raw
    return float(raw) if digits.isascii() and digits.isdigit() else None


class Sensor:
    """One temperature of one card, judged sample by sample."""

    def __init__(self, name: str, mandatory: bool) -> None:
        """`limit` is set by the card when it knows the driver's value."""
        self.name = name
        self.mandatory = mandatory
        self.temp: float | None = None  # last believed value
        self.valid = False  # this cycle's value may lower a duty
        self.hot = False  # so long without one that only full speed will do
        self.suspect: float | None = None  # a jump that the next sample must confirm
        self.fault = ""  # journal code of what is wrong now
        self.text = ""
        self.slope = 0.0
        self._misses = 0
        self._owed = 0
        self._since = 0.0
        self._falls = 0
        self._still = Stillness()

    def judge(self, now: float, raw: Raw, power: float | None, awake: bool) -> None:
        """Take one sample; `now` in seconds, `power` the smoothed load in W, `awake` for the meaning of EPERM."""
        self.suspect = None
        self.valid = False
        milli = number(raw)
        value = None if milli is None else milli / 1000.0
        if value is None or not PLAUSIBLE[0] <= value <= PLAUSIBLE[1]:
            self._miss(raw, value, awake)
            return
        jump = self._jump(now, value)
        if jump:
            # Acted on at once as far as it is high; believed when the next sample agrees.
            self.fault, self.text = "SENSOR_INVALID", f"{self.name} jumped by {jump:+.0f} K"
            return
        stuck = self._still.stuck(now, value, power)
        self.slope = 0.0 if self.temp is None else (value - self.temp) / max(now - self._since, 0.1)
        self.temp, self._since = value, now
        self._misses = 0
        self._pending = value
        self._owed = max(0, self._owed - 1)
        self.hot = stuck or self._owed > 0
        self.valid = not self.hot
        self.fault, self.text = "", ""
        if stuck:
            self.fault, self.text = "SENSOR_STUCK", f"{self.name} stands at {value:.0f} °C while the power moves"
        elif self._owed:
            self.fault, self.text = "SENSOR_INVALID", f"{self.name} needs {self._owed} more good samples"

    def forget(self) -> None:
        """The card slept: what was known is no base for a jump, and no fault."""
        self.temp = None
        self.valid, self.hot, self.suspect = True, False, None
        self.fault, self.text = "", ""
        self._misses = self._owed = self._falls = 0
        self._still = Stillness()

    def _miss(self, raw: Raw, value: float | None, awake: bool) -> None:
        self._misses += 1
        self._falls = 0
        hung = raw == HUNG
        gone = hung or raw in GONE
        if raw == errno.EPERM and awake:
            # The driver answers so during a GPU reset, with the card at full voltage.
            self._owed, self.hot = GOOD_AFTER_RESET, True
            self.fault, self.text = "GPU_RESET", f"{self.name}: not permitted while the card is awake"
            return
        if self._misses >= (MISSES_HOT_GONE if gone else MISSES_HOT):
            self.hot = True
            self._owed = max(self._owed, GOOD_AFTER_FAULT)
        self.fault = "SENSOR_HUNG" if hung else "SENSOR_INVALID"
        if hung:
            self.text = f"{self.name} does not answer"
        elif isinstance(raw, int):
            self.text = f"{self.name}: {errno.errorcode.get(raw, raw)}"
        else:
            self.text = f'{self.name} reads "{raw[:20]}"' if value is None else f"{self.name} reads {value:g} °C"

    def _jump(self, now: float, value: float) -> float:
        """How far the value is off what the silicon can do, in K; 0 when it is believed."""
        if self.temp is None:
            return 0.0
        seconds = max(now - self._since, 1.0)
        change = value - self.temp
        if change > RISE * seconds and not self._confirmed(value):
            self.suspect, self._pending = value, value
            return change
        if change < -FALL * seconds:
            self._falls += 1
            if self._falls < FALL_CONFIRM:
                return change
        self._falls = 0
        return 0.0

    def _confirmed(self, value: float) -> bool:
        """Whether the sample before was nearly as high."""
        return self._pending - value <= RISE / 2 and self._pending > (self.temp or 0.0) + RISE

    _pending = 0.0


class Stillness:
    """Notices a value that stands still while the load does not."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._value: float | None = None
        self._since = 0.0
        self._low = self._high = 0.0

    def stuck(self, now: float, value: float, power: float | None) -> bool:
        """Take one sample and say whether the value is stuck; `power` is the smoothed load in W."""
        if value != self._value:
            self._value, self._since = value, now
            self._low, self._high = (power, power) if power is not None else (float("inf"), float("-inf"))
        elif power is not None:
            self._low, self._high = min(self._low, power), max(self._high, power)
        return now - self._since >= STUCK_SECONDS and self._high - self._low > STUCK_WATTS
