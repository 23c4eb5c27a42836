"""What `map` and `calibrate` share: lock, thermal gate, deadlines, and full speed whatever happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType

from . import files, rivals
from .channel import FULL_PWM, Channel, Observation, Order
from .config import BlowerConfig
from .desk import Desk
from .gpu import GpuReader, Snapshot, attempt
from .sample import PLAUSIBLE, number
from .sysfs import Clock, Sysfs
from .workers import Pool

DEADLINE = 2.0  # s; a bus that needs longer is no bus to sweep a blower on


class Aborted(Exception):
    """The work ends here; full speed follows."""


class Refused(Exception):
    """The work does not begin."""


class Bench:
    """One exclusive session. `leave` on exit gives full speed to every channel that `own` named."""

    def __init__(self, io: Sysfs, runtime: str, proc_root: str, pcis: list[str]) -> None:
        """Temperatures of the cards with these PCI addresses are the gate."""
        self.io = io
        self.runtime = runtime
        self.proc_root = proc_root
        self.clock = Clock()
        self.desk = Desk(Pool(self.clock), DEADLINE)
        self.readers = {pci: GpuReader(io, pci) for pci in pcis}
        self.owned: dict[str, Channel] = {}
        self.abort_limit = 75.0
        self.pause: Callable[[float], None] = time.sleep
        self._lock = -1
        self._beat: files.Heartbeat | None = None

    def __enter__(self) -> Bench:
        """Take the lock. Raises Refused, files.LockHeld, OSError."""
        found = rivals.running(self.proc_root)
        if found:
            raise Refused(f"{', '.join(found)} runs and writes to fans too; stop and mask it")
        os.makedirs(self.runtime, exist_ok=True)
        self._lock = files.take_lock(f"{self.runtime}/lock", self.proc_root)
        self._beat = files.Heartbeat(f"{self.runtime}/heartbeat")
        for number_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number_, self._stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Full speed, then the lock."""
        self.left = self.leave()
        os.close(self._lock)

    @staticmethod
    def _stop(signum: int, frame: FrameType | None) -> None:
        raise Aborted(f"signal {signum}")

    def leave(self) -> list[str]:
        """Full speed on every owned channel, each in a worker of its own; keys of those where that is not proven."""
        for key, channel in self.owned.items():
            fresh = Channel(self.io, channel.config, look=False)
            self.desk.ask(f"leave {key}", lambda fresh=fresh: fresh.apply(Order(FULL_PWM)))  # type: ignore[misc]
        self.desk.wait([f"leave {key}" for key in self.owned], DEADLINE)
        seen = {key: self.desk.answer(f"leave {key}", self.clock.monotonic()) for key in self.owned}
        return [key for key, one in seen.items() if not (isinstance(one, Observation) and one.took())]

    def own(self, config: BlowerConfig) -> Channel:
        """A channel that is set to full speed when the session ends."""
        return self.owned.setdefault(config.key, Channel(self.io, config))

    def do(self, key: str, job: Callable[[], object]) -> object:
        """Run a job with a deadline. Raises Aborted."""
        self.desk.ask(key, job)
        self.desk.wait([key], DEADLINE)
        answer = self.desk.answer(key, self.clock.monotonic())
        if answer is None:
            raise Aborted(f"{key} does not answer within {DEADLINE:.0f} s")
        return answer

    def set(self, config: BlowerConfig, pwm: int) -> Observation:
        """Write a duty (0 to 255), read it back. Raises Aborted."""
        channel = self.own(config)
        seen = self.do(f"chip {config.device}", lambda: channel.apply(Order(pwm)))
        assert isinstance(seen, Observation)  # noqa: S101 - told to mypy
        if not seen.found:
            raise Aborted(f"{config.name}: {seen.text}")
        if seen.error or not seen.took():
            raise Aborted(f"{config.name}: pwm{config.channel} reads {seen.pwm_after!r} after {pwm} was written")
        return seen

    def hottest(self) -> float:
        """Hottest sensor of all cards, in °C; a card that sleeps counts as cold. Raises Aborted when one is blind."""
        hottest = 0.0
        for pci, reader in self.readers.items():
            snapshot = self.do(pci, reader.read)
            assert isinstance(snapshot, Snapshot)  # noqa: S101
            if snapshot.state == "asleep":
                continue
            for name, raw in snapshot.temps.items():
                value = number(raw)
                if value is None or not PLAUSIBLE[0] <= value / 1000 <= PLAUSIBLE[1]:
                    raise Aborted(f"{pci}: {name} reads {raw!r}")
                hottest = max(hottest, value / 1000)
            if snapshot.state != "ok":
                raise Aborted(f"{pci}: {snapshot.state}")
        return hottest

    def watts(self) -> float:
        """Highest power of any card, in W; one that cannot be read counts as 0 (the gate is the temperature)."""
        highest = 0.0
        for pci, reader in self.readers.items():
            snapshot = self.do(pci, reader.read)
            micro = number(snapshot.power) if isinstance(snapshot, Snapshot) else None
            highest = max(highest, (micro or 0.0) / 1e6)
        return highest

    def wait(self, seconds: float) -> None:
        """Let time pass under the gate. Raises Aborted at the abort limit."""
        end = self.clock.monotonic() + seconds
        while True:
            hottest = self.hottest()
            if hottest >= self.abort_limit:
                raise Aborted(f"{hottest:.0f} °C, the limit is {self.abort_limit:.0f}")
            if self._beat is not None:
                self._beat.beat(self.clock.boottime(), "degraded")
            left = end - self.clock.monotonic()
            if left <= 0:
                return
            self.pause(min(1.0, left))

    def rpm(self, base: str, tacho: int) -> float:
        """A tacho's speed, 0 when it cannot be read. Raises Aborted when it hangs."""
        raw = self.do(f"tacho {base}", lambda: attempt(self.io, f"{base}/fan{tacho}_input"))
        return number(raw) or 0.0 if isinstance(raw, str | int) else 0.0
