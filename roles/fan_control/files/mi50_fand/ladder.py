"""When air is not enough: power cap, stop the engine, power off. Decides; others carry out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .card import DELTA, STRICT, Card
from .limits import EMERGENCY_ABOVE

if TYPE_CHECKING:
    from typing import Any

NONE, CAP, STOP, OFF = range(4)
RUNGS = ("none", "cap", "stop", "off")
CODES = ("", "LADDER_CAP", "LADDER_STOP", "LADDER_POWEROFF")
SAMPLES = 3
CAP_BELOW = 3.0
STOP_SECONDS = 5.0
OFF_BELOW = 2.0
WITNESS_BELOW = 10.0
# A cap in force must show in the power within this time.
SETTLE_SECONDS = 4.0
BLIND_SECONDS = 15.0
HISTORY_SECONDS = 5.0
AGAIN_SECONDS = 600.0
STOP_AGAIN_SECONDS = 45.0
RELEASE_MAX = 900.0


class Ladder:
    """Rung of one card. Times in seconds, temperatures in °C, power in W."""

    def __init__(self, card: Card, settings: dict[str, Any]) -> None:
        """Start at the ground."""
        self.card = card
        self.settings = settings
        self.rung = NONE
        self.cause = ""
        self.faults: dict[str, str] = {}  # journal code to cause, of every rung that is taken
        self.released = ""  # said in the cycle in which the ladder lets go
        self.cap_error = ""  # why the cap that was asked for is not in force
        self.cap_since: float | None = None
        self.off_wanted = False
        self._hot = 0
        self._over = 0
        self._at_limit: float | None = None
        self._lost_since: float | None = None
        self._blind_since: float | None = None
        self._patience: float = settings["release_s"]
        self._calm_since: float | None = None
        self._stopped: float | None = None
        self._released: float | None = None
        self._past: list[tuple[float, dict[str, float]]] = []

    def step(self, now: float, cooling: list[str]) -> int:
        """Take the card's state and that of its blowers (`proven`, `unproven`, `lost`); return the rung."""
        self.released = ""
        self.off_wanted = False
        temps = {name: s.temp for name, s in self.card.sensors.items() if s.valid and s.temp is not None}
        self._past.append((now, temps))
        while self._past[0][0] < now - HISTORY_SECONDS:
            del self._past[0]
        self._count(now, temps, cooling)
        reason = self._wants_cap(now, cooling)
        if reason and self.rung < CAP and self.settings["power_cap"]:
            self._climb(CAP, reason)
            self.cap_since = now
        reason = self._wants_stop(now, cooling, reason)
        if reason and self.rung < STOP:
            self._climb(STOP, reason)
        reason = self._wants_off(cooling, temps)
        if reason and self.settings["power_off"]:
            self.off_wanted = True
            if self.rung < OFF:
                self._climb(OFF, reason)
        self._release(now, cooling)
        return self.rung

    def engage(self, rung: int, cause: str, now: float) -> None:
        """Take up a rung that an earlier process had reached."""
        self.rung, self.cause = rung, cause
        self.faults = {CODES[rung]: f"{cause} (before a restart)"}
        self.cap_since = now if rung >= CAP else None
        self._stopped = now if rung >= STOP else None

    def fresh_stop(self, now: float) -> bool:
        """Whether the units shall be stopped now: for a while after the step, and whenever the card still draws."""
        return self._stopped is not None and (now - self._stopped < STOP_AGAIN_SECONDS or self.loaded())

    def _climb(self, rung: int, reason: str) -> None:
        if self.rung == NONE:
            # A card that needs help again soon after it was let go is let go later each time.
            again = self._released is not None and self._past[-1][0] - self._released < AGAIN_SECONDS
            self._patience = min(RELEASE_MAX, self._patience * 2) if again else self.settings["release_s"]
        if rung >= STOP and self.rung < STOP:
            self._stopped = self._past[-1][0]
        self._calm_since = None
        self.rung, self.cause = rung, reason
        self.faults[CODES[rung]] = reason

    def _count(self, now: float, temps: dict[str, float], cooling: list[str]) -> None:
        """Consecutive samples and times; an invalid sample counts neither way."""
        margin = STRICT if self.card.strict else 0.0
        if temps:
            limits = self.card.limits
            self._hot = self._hot + 1 if self._any(temps, -CAP_BELOW - margin) else 0
            self._over = self._over + 1 if self._any(temps, EMERGENCY_ABOVE - OFF_BELOW) else 0
            at_limit = any(temp >= limits[name] for name, temp in temps.items())
            self._at_limit = (now if self._at_limit is None else self._at_limit) if at_limit else None
        lost = bool(cooling) and all(state == "lost" for state in cooling)
        self._lost_since = (now if self._lost_since is None else self._lost_since) if lost else None
        blind = self.card.blind() and "proven" not in cooling
        self._blind_since = (now if self._blind_since is None else self._blind_since) if blind else None

    def _any(self, temps: dict[str, float], offset: float) -> bool:
        return any(temp >= self.card.limits[name] + offset for name, temp in temps.items())

    def loaded(self) -> bool:
        """Whether the card draws enough to heat up without air; unknown counts as yes, a missing card as no."""
        if self.card.state in {"asleep", "absent", "no_driver"}:
            return False
        return self.card.power is None or self.card.power > self.settings["stall_watts"]

    def _rising(self, seconds: float, above: float) -> bool:
        """Whether a temperature at its limit + `above` K or more is higher than it was so long ago."""
        now, latest = self._past[-1]
        limits = self.card.limits
        hot = {name: temp for name, temp in latest.items() if temp >= limits[name] + above}
        for when, temps in self._past:
            if when >= now - seconds - 0.5 and when < now:
                return any(name in temps and temp > temps[name] for name, temp in hot.items())
        return False

    def _wants_cap(self, now: float, cooling: list[str]) -> str:
        if self._hot >= SAMPLES:
            return f"hot: {self._temps()}"
        if "lost" in cooling and self.loaded():
            return f"a blower is lost at {self._watts()}"
        if self._blind_since is not None and now - self._blind_since >= BLIND_SECONDS and self.loaded():
            return "no temperature is known, and no tacho shows that the blower turns"
        return ""

    def _wants_stop(self, now: float, cooling: list[str], cap_reason: str) -> str:
        if self._at_limit is not None and now - self._at_limit >= STOP_SECONDS and self._rising(HISTORY_SECONDS, 0):
            return f"at the limit and rising: {self._temps()}"
        if self.rung >= CAP and self._lost_since is not None:
            since = max(self._lost_since, self.cap_since or now)
            if now - since >= self.settings["stall_stop_s"]:
                return "no air for too long"
        if cap_reason and not self.settings["power_cap"]:
            return f"{cap_reason}; the cap is switched off"
        if self.rung == CAP and cap_reason and (self.cap_error or self._ineffective(now)):
            return f"the cap does not help ({self.cap_error or self._watts()})"
        return ""

    def _ineffective(self, now: float) -> bool:
        if self.cap_since is None or now - self.cap_since < SETTLE_SECONDS or self.card.power is None:
            return False
        return self.card.power > self.card.config.cap_watts * 1.25 + 10 and self.card.power > self.cap_floor * 1.25 + 10

    cap_floor = 0.0  # W; the cap that the card took, where its minimum is above the configured one

    def _wants_off(self, cooling: list[str], temps: dict[str, float]) -> str:
        if self._over < SAMPLES or not self._rising(SAMPLES, EMERGENCY_ABOVE - OFF_BELOW):
            return ""
        limits = self.card.limits
        over = [name for name, temp in temps.items() if temp >= limits[name] + EMERGENCY_ABOVE - OFF_BELOW]
        witnesses = [n for n, t in temps.items() if n not in over[:1] and t >= limits[n] - WITNESS_BELOW]
        # A sensor far off both others is its own only witness.
        spread = max(temps.values()) - sorted(temps.values())[-2] if len(temps) > 1 else DELTA
        if witnesses or ("lost" in cooling and spread < DELTA):
            return f"above every limit and rising: {self._temps()}"
        return ""

    def _release(self, now: float, cooling: list[str]) -> None:
        card = self.card
        if not card.nominal() or (self.rung and "lost" in cooling):
            self._calm_since = None
            return
        self._calm_since = now if self._calm_since is None else self._calm_since
        if now - self._calm_since < self._patience:
            return
        card.thermal_full = False
        if self.rung:
            self.released = f"all sensors nominal for {self._patience:.0f} s"
            self.rung, self.cause, self._stopped = NONE, "", None
            self.faults.clear()
            self.cap_since, self.cap_error, self._released = None, "", now

    def _watts(self) -> str:
        return "unknown power" if self.card.power is None else f"{self.card.power:.0f} W"

    def _temps(self) -> str:
        sensors = self.card.sensors.values()
        return ", ".join(f"{s.name} {s.temp:.0f} °C" for s in sensors if s.temp is not None)
