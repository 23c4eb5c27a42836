"""Two-node thermal model of an MI50 and its blower.

Field observations that it is fitted to by hand: 34 -> 90 °C in 40 s without forced air, 35 -> 55 °C within 5 s of a
reply with a blower, -25 °C in 4 s after a load. The fast node is the die above the heatsink (the blower cannot
influence it), the slow node the heatsink. It is indicative: no card was measured for it.
"""

from __future__ import annotations

INLET = 30.0  # °C
HEAT_CAPACITY = 250.0  # J/K, heatsink and cold plate
DIE_RESISTANCE = 0.13  # K/W, junction above heatsink
DIE_SECONDS = 2.5
AIR_RESISTANCE = 0.12  # K/W at full airflow; grows with airflow ** -0.8
# Without forced air the channels of the heatsink pass next to nothing.
STILL_AIR = 2.0  # K/W
SPIN_SECONDS = 1.5
MAX_RPM = 4000.0
STEP = 0.1  # s
# Share of the die's rise that the other two sensors show: at 102 °C junction HBM was at 87, edge lies between.
EDGE_SHARE = 0.6
MEM_SHARE = 0.45


class Fan:
    """A blower: speed follows the effective duty with a lag. `dead` stops it, `worn` scales its speed."""

    def __init__(self, duty: float = 1.0) -> None:
        """Start at a duty of 0 to 1."""
        self.duty = duty
        self.speed = duty
        self.dead = False
        self.worn = 1.0

    def step(self, seconds: float) -> None:
        """Let time pass."""
        target = 0.0 if self.dead or self.duty < 0.08 else self.duty * self.worn
        self.speed += (target - self.speed) * min(1.0, seconds / SPIN_SECONDS)

    @property
    def rpm(self) -> int:
        """Speed as the tacho gives it."""
        return round(self.speed * MAX_RPM) if self.speed > 0.02 else 0


class Die:
    """Temperatures of one card under a load. The cap holds the power down as the driver does."""

    def __init__(self, fans: list[Fan], load: float = 20.0) -> None:
        """Start in equilibrium at a load in W."""
        self.fans = fans
        self.load = load
        self.cap = 225.0
        self.power = load
        self.rise = DIE_RESISTANCE * load
        self.sink = INLET + self._resistance() * load

    def _resistance(self) -> float:
        # Blowers side by side feed one duct: two of them do not quite double the flow of one.
        flow = min(1.3, sum(fan.speed for fan in self.fans) / max(1.0, len(self.fans) ** 0.7))
        return STILL_AIR if flow < 0.02 else min(STILL_AIR, AIR_RESISTANCE / flow**0.8)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        wanted = min(self.load, self.cap)
        # The firmware takes a moment to obey a cap; a load comes at once.
        self.power += (wanted - self.power) * min(1.0, seconds / 0.3)
        self.rise += (DIE_RESISTANCE * self.power - self.rise) * min(1.0, seconds / DIE_SECONDS)
        flow = self.power - (self.sink - INLET) / self._resistance()
        self.sink += flow * seconds / HEAT_CAPACITY

    @property
    def junction(self) -> float:
        """°C."""
        return self.sink + self.rise

    @property
    def edge(self) -> float:
        """°C."""
        return self.sink + EDGE_SHARE * self.rise

    @property
    def mem(self) -> float:
        """°C."""
        return self.sink + MEM_SHARE * self.rise
