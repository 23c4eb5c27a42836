"""How a blower's duty follows the demand: up at once, down late and slowly."""

from __future__ import annotations

FULL = 100.0


def pwm(duty: float) -> int:
    """A duty in % as hwmon's 0 to 255, rounded up."""
    return min(255, max(0, -int(-duty * 2.55 // 1)))


class Ramp:
    """Duty of one blower in %; starts at full speed, where the early boot unit left it."""

    def __init__(self, law: dict[str, float], floor: float, duty: float = FULL) -> None:
        """Settings of the law: seconds, % a second, %."""
        self.law = law
        self.floor = floor
        self.duty = duty
        self.written = duty
        self._hold_until: float | None = None
        self._last: float | None = None

    def step(self, now: float, demand: float, transient: float, may_lower: bool) -> float:
        """The duty to write now. `transient` is obeyed this once and leaves no trace."""
        seconds = 0.0 if self._last is None else min(max(now - self._last, 0.0), 5.0)
        self._last = now
        demand = min(FULL, max(demand, self.floor))
        if demand >= self.duty or self._hold_until is None:
            # Held from the last moment at which the duty was needed, so that a saw-tooth of load does not pump.
            self._hold_until = now + self.law["hold_s"]
            self.duty = max(self.duty, demand)
        elif may_lower and now >= self._hold_until:
            self.duty = max(demand, self.duty - self.law["down_percent_per_s"] * seconds)
        # Only a fall is worth waiting for: a rise of a tenth is written, or the safe curve would be undercut.
        fall = self.written - self.duty
        if fall < 0 or fall >= self.law["dead_band"] or (fall > 0 and self.duty <= self.floor):
            self.written = self.duty
        return max(self.written, min(FULL, transient))

    def lift(self, now: float) -> None:
        """Full speed was forced from elsewhere: come down from there, slowly."""
        self.duty = self.written = FULL
        self._hold_until = now + self.law["hold_s"]
