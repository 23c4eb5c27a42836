"""Stand-in for sysfs: attributes, links and faults in memory, with the virtual clock and the workers that go with it.

It replaces the kernel's hwmon and PCI directories for mi50-fand's I/O class. It does not prove how a real driver
answers (tests/vm does), nor that threads survive a hung read (a test with real threads and a FIFO does).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from mi50_fand.sysfs import Clock, Sysfs
from mi50_fand.workers import Pool, Ticket

Value = str | Callable[[], str]
Fault = int | str | float  # errno, the word to answer with, or seconds for which the access hangs


class Blocked(Exception):
    """An access that does not come back for so many seconds."""

    def __init__(self, seconds: float) -> None:
        """Keep the time."""
        super().__init__()
        self.seconds = seconds


class VirtualClock(Clock):
    """Time that passes when told to."""

    def __init__(self) -> None:
        """Start well after boot."""
        self.now = 1000.0
        self.slept = 0.0

    def monotonic(self) -> float:
        """Seconds without suspend."""
        return self.now

    def boottime(self) -> float:
        """Seconds with suspend."""
        return self.now + self.slept


class VirtualPool(Pool):
    """Does jobs at once; one that is blocked stays so until its virtual time is over."""

    def __init__(self, clock: VirtualClock) -> None:
        """No threads."""
        self.clock = clock
        self._stuck: dict[str, tuple[float, Ticket]] = {}

    def submit(self, key: str, job: Callable[[], object]) -> Ticket:
        """Run the job, unless the key still hangs in an earlier one."""
        if key in self._stuck:
            until, ticket = self._stuck[key]
            if self.clock.monotonic() < until:
                return ticket
            ticket.done = True
            del self._stuck[key]
        ticket = Ticket(job, self.clock.monotonic())
        try:
            ticket.value = job()
        except Blocked as blocked:
            self._stuck[key] = (self.clock.monotonic() + blocked.seconds, ticket)
            return ticket
        ticket.done = True
        return ticket

    def wait(self, keys: list[str], seconds: float) -> None:
        """Virtual time does not pass while waiting."""


class MemorySysfs(Sysfs):
    """A tree of attributes. Written values go to hooks first, which may refuse or drop them."""

    def __init__(self) -> None:
        """Empty."""
        self.root = "/sys"
        self.values: dict[str, Value] = {}
        self.links: dict[str, str] = {}
        self.hooks: dict[str, Callable[[int], None]] = {}
        self.faults: dict[str, Fault] = {}
        self.write_faults: dict[str, Fault] = {}
        self.writes: list[tuple[str, int]] = []

    def _walk(self, path: str) -> str:
        """The path with links resolved; ENOENT when a link leads nowhere."""
        done: list[str] = []
        for part in path.split("/"):
            done.append(part)
            target = self.links.get("/".join(done))
            if target is not None:
                done = target.split("/")
        return "/".join(done)

    def _is_directory(self, path: str) -> bool:
        return any(name.startswith(f"{path}/") for name in (*self.values, *self.links))

    @staticmethod
    def _fail(fault: Fault, path: str) -> None:
        if isinstance(fault, float):
            raise Blocked(fault)
        if isinstance(fault, int):
            raise OSError(fault, "injected", path)

    def read(self, path: str) -> str:
        """An attribute, or the fault that was put on it."""
        real = self._walk(path)
        fault = self.faults.get(real)
        if fault is not None:
            self._fail(fault, real)
            return str(fault).strip()
        value = self.values.get(real)
        if value is None:
            raise OSError(errno.ENOENT, "no such attribute", path)
        return value() if callable(value) else value

    def write(self, path: str, value: int) -> None:
        """Set an attribute, through its hook where it has one."""
        real = self._walk(path)
        fault = self.write_faults.get(real)
        if fault is not None:
            self._fail(fault, real)
            return
        if real not in self.values:
            raise OSError(errno.ENOENT, "no such attribute", path)
        self.writes.append((real, value))
        hook = self.hooks.get(real)
        if hook is not None:
            hook(value)
        else:
            self.values[real] = str(value)

    def list(self, path: str) -> list[str]:
        """Names in a directory."""
        real = self._walk(path)
        found = {n[len(real) + 1 :].split("/")[0] for n in (*self.values, *self.links) if n.startswith(f"{real}/")}
        if not found:
            raise OSError(errno.ENOENT, "no such directory", path)
        return sorted(found)

    def exists(self, path: str) -> bool:
        """Whether there is an attribute or a directory."""
        real = self._walk(path)
        return real in self.values or self._is_directory(real)

    def real(self, path: str) -> str:
        """The path with links resolved."""
        real = self._walk(path)
        if not (real in self.values or self._is_directory(real)):
            raise OSError(errno.ENOENT, "leads nowhere", path)
        return real

    def remove(self, prefix: str) -> None:
        """Take a directory away, and the links into it."""
        for store in (self.values, self.links, self.hooks):
            for name in [n for n in store if n == prefix or n.startswith(f"{prefix}/")]:
                del store[name]
        for name in [n for n, target in self.links.items() if target == prefix or target.startswith(f"{prefix}/")]:
            del self.links[name]
