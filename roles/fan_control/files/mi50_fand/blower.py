"""One blower: what its channel and tacho say about whether it obeys and turns."""

from __future__ import annotations

from .channel import FULL_PWM, Observation, Order
from .config import BlowerConfig
from .ramp import FULL, Ramp, pwm
from .sample import number
from .tacho import Tacho

FIGHTS = 5
FIGHT_WINDOW = 15.0
FULL_SECONDS = 60.0
FULL_SECONDS_MAX = 3600.0
FOREIGN_SECONDS = 60.0
RESTLESS_SECONDS = 300.0
# Drivers whose cached mode swallows a second 1 (measured: nct7802, regmap).
TOGGLE_CHIPS = ("nct7802",)
WRITE_LOST_SECONDS = 3.0
CHIP_LOST_SECONDS = 8.0


class Blower:
    """State of one blower across cycles. Times in seconds, duties in %."""

    def __init__(self, config: BlowerConfig, law: dict[str, float], duty: float = FULL) -> None:
        """`duty` is what the channel runs at when the daemon takes over: full speed unless a reload hands it on."""
        self.config = config
        self.ramp = Ramp(law, config.floor, duty)
        self.tacho = Tacho(config)
        self.duty = duty
        self.verified = False
        self.present = not config.controlled
        self.faults: dict[str, str] = {}
        self.remarks: list[str] = []
        self.foreign = 0.0  # duty that somebody else wants; the higher one wins
        self.prime = True
        self.order = Order(FULL_PWM)
        self._foreign_until = 0.0
        self._after: float | None = None
        self._enable = 1.0
        self._fights: list[float] = []
        self._full_until = 0.0
        self._full_seconds = FULL_SECONDS
        self._lost_since: float | None = None
        self._absent_since: float | None = None
        self._toggles = 0
        self._restless_until = 0.0

    def adopt(self, config: BlowerConfig, law: dict[str, float]) -> None:
        """Take new settings of the same channel; its duty, its fights and what its tacho has shown stay."""
        if config.tacho != self.config.tacho:
            self.tacho = Tacho(config)
        self.tacho.calibration = config.calibration
        self.config = config
        self.ramp.law, self.ramp.floor = law, config.floor

    @property
    def fighting(self) -> bool:
        """Whether the channel is at full speed because somebody keeps taking it."""
        return self._full_until > 0

    @property
    def losing(self) -> bool:
        """Whether its writes fail at this moment, or its chip is gone."""
        return self.config.controlled and (self._lost_since is not None or self._absent_since is not None)

    def boosted(self, demand: float) -> float:
        """The demand raised by what a weak blower lacks."""
        return min(FULL, demand / self.tacho.ratio) if self.tacho.weak else demand

    def next_order(self, now: float, demand: float, transient: float, may_lower: bool) -> Order:
        """What to write: the ramp's duty, or full speed while stalled, fought over, or unproven after a lost write."""
        if now >= self._full_until:
            self._full_until = 0.0
        if now >= self._foreign_until:
            self.foreign = 0.0
        before = self.duty
        self.duty = max(self.ramp.step(now, self.boosted(demand), transient, may_lower), self.foreign)
        if not may_lower:
            # Whatever else comes to its end in this cycle: on an incomplete set of samples nothing falls.
            self.duty = max(self.duty, before)
        if self.tacho.kick or self.tacho.stalled or self.fighting or self._lost_since is not None:
            self.duty = FULL
            self.ramp.lift(now)
        toggle = self.config.chip.startswith(TOGGLE_CHIPS) or self._toggle_on_evidence()
        self.order = Order(pwm(self.duty), full=self.fighting, toggle=toggle, prime=self.prime)
        return self.order

    def kick_now(self, now: float) -> bool:
        """Whether the blower was found standing in this cycle, and its order has become full speed."""
        if not self.config.controlled or not self.tacho.kick or self.order.pwm == FULL_PWM:
            return False
        self.duty = FULL
        self.ramp.lift(now)
        self.order = Order(FULL_PWM, full=self.order.full, toggle=self.order.toggle)
        self._after = None  # written after this cycle's look
        return True

    def restless(self, now: float) -> bool:
        """Whether to assert the channel several times a cycle: somebody takes it, or its blower does not follow.

        Firmware that acts once a second wins half of the time against a daemon that does; where mode and duty read
        back as written whatever happens (w83795), the speed is the only sign of it.
        """
        if self.config.controlled and (self.tacho.weak or self.fighting):
            self._restless_until = now + RESTLESS_SECONDS
        return now < self._restless_until

    def _toggle_on_evidence(self) -> bool:
        """A blower slower than its duty, with a read-back that agrees: the driver's cache may hide a lost mode."""
        if not self.tacho.weak:
            self._toggles = 0
            return False
        self._toggles += 1
        return self._toggles <= FIGHTS or self._toggles % 10 == 0

    def resumed(self) -> None:
        """The machine slept: firmware has taken the channel, caches start anew, no tacho history holds."""
        self.prime = True
        self._after = None
        self.tacho.settle()

    def judge(self, now: float, seen: Observation | None, demanding: bool) -> None:
        """Take what the channel saw; None when it did not come back in time."""
        self.faults, self.remarks = {}, []
        if seen is None:
            self.verified = False
            self.tacho.rpm = None  # what it showed before proves nothing now
            self._lose(now, "WRITE_HUNG" if self.config.controlled else "SENSOR_HUNG", "the fan chip does not answer")
            return
        if not seen.found:
            self._missing(now, seen)
            return
        self._absent_since = None
        self.present = True
        self.prime = False
        if seen.renamed:
            self.faults["CHIP_RENAMED"] = f"{self.config.chip} is called {seen.renamed} now; change chip in the file"
        if seen.fresh:
            self._after = None
            self.tacho.settle()
        if self.config.controlled:
            self._writes(now, seen)
        else:
            self.verified = True
            self._lost_since = None
        self.tacho.judge(now, seen.rpm, self.duty, demanding)
        self._report_tacho()

    def _missing(self, now: float, seen: Observation) -> None:
        self.verified = False
        self.present = False
        self.prime = True
        self._after = None
        self._absent_since = now if self._absent_since is None else self._absent_since
        self._lost_since = None
        self.ramp.lift(now)  # whatever it does meanwhile, it begins at full speed when it is back
        self.tacho.settle()
        self.tacho.rpm = None
        self.faults[seen.code] = seen.text

    def _lose(self, now: float, code: str, text: str) -> None:
        self._lost_since = now if self._lost_since is None else self._lost_since
        self.faults[code] = text

    def _writes(self, now: float, seen: Observation) -> None:
        before = number(seen.pwm_before)
        mode = number(seen.enable_before)
        if self._after is not None and not seen.fresh:
            if mode is not None and mode != self._enable:
                self._fight(now, "ENABLE_FOUGHT", f"mode was set from {self._enable:.0f} to {mode:.0f}")
            elif mode == 1 and before is not None and abs(before - self._after) > 2:
                self._third_party(now, before)
        if seen.error:
            self.verified = False
            self._lose(now, "WRITE_FAILED", f"pwm{self.config.channel}: errno {seen.error}")
        elif not seen.took():
            self.verified = False
            text = f"pwm{self.config.channel} reads {seen.pwm_after!r} in mode {seen.enable_after!r}"
            self._lose(now, "WRITE_IGNORED", f"{text} after {seen.order.pwm} was written")
        else:
            self.verified = True
            self._lost_since = None
        self._after = number(seen.pwm_after)
        self._enable = number(seen.enable_after) or 0.0

    def _third_party(self, now: float, before: float) -> None:
        self._fight(now, "THIRD_PARTY", f"pwm{self.config.channel} was set from {self._after:.0f} to {before:.0f}")
        if before > (self._after or 0.0):
            self.foreign = before / 2.55
            self._foreign_until = now + FOREIGN_SECONDS

    def _fight(self, now: float, code: str, text: str) -> None:
        self.faults[code] = text
        self._fights = [when for when in self._fights if now - when <= FIGHT_WINDOW] + [now]
        if len(self._fights) >= FIGHTS or self.fighting:
            if not self.fighting:
                # Each lost peace doubles the time at full speed, so that a fight never oscillates low.
                self._full_seconds = min(FULL_SECONDS_MAX, self._full_seconds * 2)
            self._full_until = now + self._full_seconds

    def _report_tacho(self) -> None:
        tacho = self.tacho
        if tacho.fitted and not tacho.usable:
            self.faults["TACHO_UNUSABLE"] = f"fan{self.config.tacho}_input {tacho.why}"
        speed = "an unknown speed" if tacho.rpm is None else f"{tacho.rpm:.0f} RPM"
        if tacho.usable and (tacho.stalled or tacho.kick):
            self.faults["FAN_STALLED"] = f"{speed} at {self.duty:.0f} %"
        elif tacho.usable and tacho.weak:
            self.faults["FAN_WEAK"] = (
                f"{speed} at {self.duty:.0f} %, {tacho.ratio:.0%} of its curve: worn, or the writes do not reach it"
            )

    def full(self, at: float) -> bool:
        """Whether the tacho alone shows full speed, whatever became of the writes."""
        curve = self.config.calibration
        return bool(curve) and self.tacho.proven and (self.tacho.rpm or 0.0) >= curve[-1][1] * at

    def cooling(self, now: float) -> str:
        """`proven` by the tacho, `lost` for good reason, or `unproven`."""
        if self.tacho.stalled:
            return "lost"
        if self._lost_since is not None and now - self._lost_since >= WRITE_LOST_SECONDS and not self.full(0.7):
            return "lost"
        if self._absent_since is not None and now - self._absent_since >= CHIP_LOST_SECONDS:
            return "lost"
        return "proven" if self.tacho.proven and self._absent_since is None else "unproven"
