"""One card: what its sensors demand of its blowers."""

from __future__ import annotations

from . import curve, limits
from .config import SENSORS, GpuConfig
from .gpu import Raw, Snapshot
from .rules import FULL_BELOW
from .sample import HUNG, Sensor, number

FULL = 100.0
# The curve below which no configuration gets: from limit - 45 K to full speed at limit - 10 K.
SAFE_SPAN = 35.0
SAFE_START = 20.0
# Without a tacho that can be trusted, everything happens this much earlier, K.
STRICT = 5.0
NOMINAL_BELOW = 15.0
# Junction this far above both others: bad contact or a broken sensor, K. 225 W gives 30 K.
DELTA = 40.0
# Junction this far below edge: it is the hottest point of the die by definition.
UNDER = 15.0
MAX_WATTS = 600.0


class Card:
    """Judges snapshots of one card, cycle by cycle. Temperatures in °C, power in W, demands in %."""

    def __init__(self, config: GpuConfig, law: dict[str, float]) -> None:
        """Start with nothing known: full speed until a full set of good samples."""
        self.config = config
        self.law = law
        self.sensors = {name: Sensor(name, config.mandatory[name]) for name in SENSORS}
        self.limits = {name: limits.limit(name, "0", config.limits.get(name))[0] for name in SENSORS}
        self.state = "unknown"  # ok, asleep, no_driver, absent, hung, unknown
        self.power: float | None = None
        self.smooth: float | None = None
        self.demand = FULL  # what the ramp follows
        self.transient = 0.0  # this cycle only: an unconfirmed jump
        self.may_lower = False
        self.strict = False  # set from outside: no blower of this card has a tacho that can be trusted
        self.thermal_full = False
        self.acknowledged = False  # an operator knows that the card is gone
        self.faults: dict[str, str] = {}
        self.remarks: list[str] = []
        self._crit: dict[str, Raw] | None = None
        self._remarks: list[str] = []
        self._held: dict[str, float] = {}
        self._unseen = 0
        self._ff = 0.0
        self._last = 0.0

    def adopt(self, config: GpuConfig, law: dict[str, float]) -> None:
        """Take new settings and keep everything that is known: a reload lowers no emergency."""
        self.config, self.law = config, law
        for name, sensor in self.sensors.items():
            sensor.mandatory = config.mandatory[name]
        self._crit = None
        self._held.clear()

    def blind(self) -> bool:
        """Whether no temperature at all is believed."""
        return self.state not in {"ok", "asleep"} or not any(sensor.valid for sensor in self.sensors.values())

    def nominal(self) -> bool:
        """Whether every mandatory sensor is valid and everything is well below its limit."""
        if self.state == "asleep" or (self.state == "absent" and self.acknowledged):
            return True
        below = NOMINAL_BELOW + (STRICT if self.strict else 0.0)
        return all(
            (sensor.valid or not sensor.mandatory)
            and (sensor.temp is None or not sensor.valid or sensor.temp < self.limits[name] - below)
            for name, sensor in self.sensors.items()
        )

    def judge(self, now: float, snapshot: Snapshot | None) -> None:
        """Take one snapshot, None when the read did not come back in time."""
        self.faults = {}
        self.remarks = []
        self.transient = 0.0
        self.state = "hung" if snapshot is None else snapshot.state
        if snapshot is not None and snapshot.state == "asleep":
            self._sleep()
            return
        awake = snapshot is not None and snapshot.state == "ok"
        if snapshot is not None and awake:
            self._limits(snapshot)
        self._power(now, snapshot)
        for name, sensor in self.sensors.items():
            raw = snapshot.temps[name] if snapshot is not None and awake else HUNG
            sensor.judge(now, raw, self.smooth, awake)
            if sensor.fault and (sensor.mandatory or sensor.fault != "SENSOR_INVALID"):
                self.faults[sensor.fault] = sensor.text
        self._unseen = 0 if awake else self._unseen + 1
        if not awake:
            self._gone()
        self._decide()

    def _sleep(self) -> None:
        for sensor in self.sensors.values():
            sensor.forget()
        self.power = self.smooth = 0.0
        self._held.clear()
        self._ff = 0.0
        self.demand, self.may_lower = (FULL if self.thermal_full else 0.0), True

    def _gone(self) -> None:
        where = {"absent": "is not on the bus", "no_driver": "has no amdgpu hwmon", "hung": "does not answer"}
        code = "SENSOR_HUNG" if self.state == "hung" else "GPU_MISSING"
        # One late answer is a busy machine; nothing falls in that cycle, and nobody is told.
        self.faults = {code: f"card {where.get(self.state, self.state)}"} if self._unseen > 1 else {}

    def _limits(self, snapshot: Snapshot) -> None:
        if snapshot.crit is not self._crit:
            self._crit = snapshot.crit
            self._remarks = []
            for name in SENSORS:
                self.limits[name], remark = limits.limit(name, snapshot.crit[name], self.config.limits.get(name))
                self._remarks += [remark] if remark else []
        self.remarks = self._remarks
        wanted = self.config.unique_id
        if wanted and snapshot.unique_id and wanted != snapshot.unique_id:
            self.faults["GPU_CHANGED"] = f"unique_id is {snapshot.unique_id}, not {wanted}"

    def _power(self, now: float, snapshot: Snapshot | None) -> None:
        micro = number(snapshot.power) if snapshot is not None and snapshot.state == "ok" else None
        seconds = min(max(now - self._last, 0.0), 5.0)
        self._last = now
        self.power = micro / 1e6 if micro is not None and 0 < micro <= MAX_WATTS * 1e6 else None
        if self.power is None:
            return
        previous = self.power if self.smooth is None else self.smooth
        self.smooth = previous + (self.power - previous) * min(1.0, seconds / 5.0)
        # The feed-forward rises with the power and falls behind it.
        tau = self.law["power_smoothing_s"]
        share = 1.0 if tau <= 0 else min(1.0, seconds / tau)
        self._ff = max(self.power, self._ff + (self.power - self._ff) * share)

    def _decide(self) -> None:
        demand, valid, hot = 0.0, True, False
        margin = STRICT if self.strict else 0.0
        for name, sensor in self.sensors.items():
            if sensor.suspect is not None:
                self.transient = max(self.transient, self._of(name, sensor.suspect, margin))
            if sensor.temp is not None and sensor.valid:
                held = min(max(self._held.get(name, sensor.temp), sensor.temp), sensor.temp + self.law["hysteresis_c"])
                self._held[name] = held
                demand = max(demand, self._of(name, sensor.temp, margin), self._of(name, held, margin))
                if sensor.temp >= self.limits[name] - FULL_BELOW - margin:
                    self._trip(f"{name} {sensor.temp:.0f} °C, limit {self.limits[name]:.0f}")
            if sensor.mandatory:
                valid = valid and sensor.valid
                hot = hot or sensor.hot
        if self.config.power_curve:
            demand = max(demand, curve.value(self.config.power_curve, self._ff))
            valid = valid and (self.power is not None)
        hot = self._cross_check() or hot
        self.may_lower = valid and not hot and self.state == "ok"
        if self.state == "absent" and self.acknowledged:
            # Other cards on the same blower decide; an emergency of this one is over with it.
            self.demand, self.may_lower = (FULL if self.thermal_full else 0.0), True
            return
        self.demand = FULL if hot or self.thermal_full else demand

    def _of(self, name: str, temp: float, margin: float) -> float:
        """Demand of one sensor: its curve, and the safe curve that no configuration can undercut."""
        full_at = self.limits[name] - FULL_BELOW - margin
        share = (temp - (full_at - SAFE_SPAN)) / SAFE_SPAN
        safe = SAFE_START + (FULL - SAFE_START) * share if share > 0 else 0.0
        return min(FULL, max(curve.value(self.config.curves[name], temp + margin), safe))

    def _cross_check(self) -> bool:
        """Whether the sensors contradict each other; then the highest is not trusted to be high enough."""
        edge, junction, mem = (
            sensor.temp if sensor.valid else None for sensor in (self.sensors[name] for name in SENSORS)
        )
        if junction is None or edge is None:
            return False
        if junction - max(edge, mem if mem is not None else edge) > DELTA:
            self.faults["SENSOR_DELTA"] = f"junction {junction:.0f} °C, edge {edge:.0f}: bad contact or broken sensor"
            return True
        if edge - junction > UNDER:
            self.faults["SENSOR_DELTA"] = f"junction {junction:.0f} °C is below edge {edge:.0f}"
            return True
        return False

    def _trip(self, text: str) -> None:
        self.thermal_full = True
        self.faults["THERMAL_FULL"] = text
