"""What the tacho proves: the only witness where a driver's read-back lies."""

from __future__ import annotations

from itertools import pairwise

from . import curve
from .config import BlowerConfig
from .curve import Points
from .gpu import Raw
from .sample import number

# No blower of this class turns faster; a disconnected divider gives 65535.
MAX_RPM = 25000.0
STILL_RPM = 100.0
# Less than this share of the slowest that its duty can mean is no rotation to speak of.
STILL_SHARE = 0.25
STALL_SECONDS = 3.0
# Full speed costs nothing but noise: the second sample without rotation gets it, long before it is called a stall.
KICK_AFTER_SECONDS = 1.0
KICK_SECONDS = 2.0
KICK_DUTY = 80.0
SPIN_SECONDS = 3.0  # turning so long ends a stall
# A blower reaches 70 % of its new speed within this time after a step of the duty.
RELAX_SECONDS = 6.0
# adt7475 and w83795 read their registers every 2 s at most.
CACHE_SECONDS = 3.0
WEAK_SECONDS = 2.0
WEAK_BELOW = 0.7
WELL_ABOVE = 0.75
WELL_SECONDS = 10.0
BAD_SAMPLES = 3
GOOD_SAMPLES = 10
CONSTANT_SECONDS = 10.0
CONSTANT_DUTY = 20.0
JUMPS = 4
JUMP_WINDOW = 10
STEADY_SECONDS = 8.0
RESPONSE_DUTY = 25.0
RESPONSE_RPM = 1.1


class Tacho:
    """Judges one fan input, sample by sample. Duties in %, speeds in RPM, times in seconds."""

    def __init__(self, config: BlowerConfig) -> None:
        """Usable until it shows otherwise; without a tacho it never is."""
        self.fitted = config.tacho is not None
        self.calibration: Points = config.calibration
        self.usable = self.fitted
        self.why = "" if self.fitted else "no tacho"
        self.rpm: float | None = None
        self.kick = False
        self.stalled = False
        self.weak = False
        self.ratio = 1.0  # speed over calibrated speed while weak
        self._bad = self._good = 0
        self._zero_since: float | None = None
        self._turning_since: float | None = None
        self._slow_since: float | None = None
        self._well_since: float | None = None
        self._duties: list[tuple[float, float]] = []
        self._first = 0.0
        self._settled = False
        self._least = 0.0  # lowest duty of the last seconds, and the calibrated speed at it
        self._expected = 0.0
        self._recent: list[float] = []
        self._constant: tuple[float, float, float, float | None] | None = None
        self._steady: tuple[float, float] | None = None
        self._reference: tuple[float, float] | None = None

    @property
    def proven(self) -> bool:
        """Whether the blower turns as it should; a sample or two may be missing."""
        return self.usable and self._good + self._bad > 0 and not (self.stalled or self.weak or self.kick)

    def settle(self) -> None:
        """The chip was found anew or the machine slept: nothing from before is a base for a judgement."""
        self._zero_since = self._slow_since = self._turning_since = None
        self._duties.clear()
        self._recent.clear()
        self._constant = self._steady = self._reference = None

    def judge(self, now: float, raw: Raw, duty: float, demanding: bool) -> None:
        """Take one sample and the duty that was just written.

        `demanding` False: the blower may stand (a monitored one that stops when its card idles).
        """
        if not self.fitted:
            return
        self._remember(now, duty)
        rpm = number(raw)
        self.rpm = rpm if rpm is not None and 0 <= rpm < MAX_RPM else None
        if not self._usable(now, raw, duty) or self.rpm is None:
            self._zero_since = self._slow_since = None
            return
        # Before the history reaches back far enough, nobody knows which duty the speed belongs to: firmware's, perhaps,
        # and chips show a speed that is up to 2 s old.
        self._settled = now - self._first >= RELAX_SECONDS + CACHE_SECONDS
        self._least = min(duty for _, duty in self._duties)
        self._expected = curve.value(self.calibration, self._least)
        self._stall(now, self.rpm, demanding)
        if self.calibration and self._settled:
            self._slow(now, self.rpm, self._expected * WEAK_BELOW)
        elif not self.calibration:
            self._response(now, self.rpm, duty)

    def _remember(self, now: float, duty: float) -> None:
        if not self._duties:
            self._first = now
        self._duties.append((now, duty))
        while self._duties and self._duties[0][0] < now - RELAX_SECONDS:
            del self._duties[0]

    def _usable(self, now: float, raw: Raw, duty: float) -> bool:
        reason, constant = "", False
        if self.rpm is None:
            self._bad, self._good = self._bad + 1, 0
            reason = f"reads {raw!r}" if self._bad >= BAD_SAMPLES else ""
        else:
            self._bad, self._good = 0, self._good + 1
            if self._noisy(self.rpm):
                reason = "jumps"
            elif self._is_constant(now, self.rpm, duty):
                constant = True
                reason = f"stands at {self.rpm:.0f} whatever the duty: no tacho, or the writes do not reach the chip"
        if reason:
            self.usable, self.why = False, reason
            self._good = 0
            # A verdict of an unusable witness is void; the strict margins take over. But a speed that stays too low may
            # as well be that of a duty that is not ours: the channel is asserted on, see Blower.restless.
            self.kick = self.stalled = False
            self.weak = self.weak and constant
            self.ratio = self.ratio if self.weak else 1.0
        elif not self.usable and self._good >= GOOD_SAMPLES:
            self.usable, self.why = True, ""
        return self.usable

    def _noisy(self, rpm: float) -> bool:
        """Jumping up and down; a blower that runs down halves its speed each second too, but in one direction."""
        self._recent.append(rpm)
        del self._recent[:-JUMP_WINDOW]
        up = down = 0
        for before, after in pairwise(self._recent):
            up += after - before > after / 2
            down += before - after > before / 2
        return min(up, down) >= JUMPS / 2

    def _is_constant(self, now: float, rpm: float, duty: float) -> bool:
        """The same number for long after the duty went far: no counter behind it, or the writes are lost."""
        known = self._constant
        if known is None or known[0] != rpm or rpm < STILL_RPM:
            self._constant = (rpm, duty, duty, None)
            return False
        low, high, since = min(known[1], duty), max(known[2], duty), known[3]
        if since is None and high - low >= CONSTANT_DUTY:
            since = now
        self._constant = (rpm, low, high, since)
        return since is not None and now - since >= CONSTANT_SECONDS

    def _still(self) -> float:
        """RPM below which the blower counts as standing: a run-down from full speed takes many seconds to 0."""
        if not self.calibration or not self._settled:
            return STILL_RPM
        return max(STILL_RPM, STILL_SHARE * self._expected)

    def _stall(self, now: float, rpm: float, demanding: bool) -> None:
        if rpm >= self._still():
            self._zero_since = None
            self._turning_since = now if self._turning_since is None else self._turning_since
            if now - self._turning_since >= SPIN_SECONDS:
                self.kick = self.stalled = False
            return
        self._turning_since = None
        if not demanding:
            self._zero_since = None
            self.kick = self.stalled = False
            return
        self._zero_since = now if self._zero_since is None else self._zero_since
        still = now - self._zero_since
        self.kick = self.kick or still >= KICK_AFTER_SECONDS
        # At full speed already, there is nothing left to kick.
        kicked = 0.0 if self._least >= KICK_DUTY else KICK_SECONDS
        self.stalled = self.stalled or still >= STALL_SECONDS + kicked

    def _slow(self, now: float, rpm: float, least: float) -> None:
        if self._still() <= rpm < least:
            self._well_since = None
            self._slow_since = now if self._slow_since is None else self._slow_since
            if now - self._slow_since >= WEAK_SECONDS:
                self.weak = True
                self.ratio = max(0.3, rpm * WEAK_BELOW / least)
            return
        self._slow_since = None
        if rpm < least / WEAK_BELOW * WELL_ABOVE:
            return
        self._well_since = now if self._well_since is None else self._well_since
        if now - self._well_since >= WELL_SECONDS:
            self.weak, self.ratio = False, 1.0

    def _response(self, now: float, rpm: float, duty: float) -> None:
        """Without a calibration: a much higher duty must at least turn the blower faster."""
        if self._steady is None or abs(self._steady[1] - duty) > 3:
            self._steady = (now, duty)
            return
        if now - self._steady[0] < STEADY_SECONDS:
            return
        reference = self._reference
        if reference is None or duty < reference[0] + RESPONSE_DUTY:
            if reference is None or duty <= reference[0] + 3:
                self._reference = (duty, rpm)
            return
        self.weak = rpm < reference[1] * RESPONSE_RPM
