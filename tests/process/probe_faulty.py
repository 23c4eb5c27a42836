"""Starts the installed daemon with a fault that a file sets off: `probe_faulty.py FAULT run --config …`.

The daemon's code is the installed one; between two cycles this looks for /run/mi50-fault. For the clocks: the offsets
in that file are added to what the daemon reads (wall-clock, suspended time).
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/local/lib/mi50-fand")

from mi50_fand import sysfs
from mi50_fand.cli import main
from mi50_fand.engine import Engine

FLAG = Path("/run/mi50-fault")


def hog() -> None:
    """Take memory until the unit's limit is hit; never more than three times that limit."""
    kept = [bytearray(os.urandom(1 << 20)) for _ in range(300)]
    raise MemoryError(f"{len(kept)} MiB taken and nobody objected")


def loop() -> None:
    while True:
        pass


def deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


FAULTS: dict[str, Any] = {
    "exit": lambda: os._exit(7),
    "segfault": faulthandler._sigsegv,
    "oom": hog,
    "loop": loop,
    "deadlock": deadlock,
    "raise": lambda: 1 / 0,
}


def arm(fault: str) -> None:
    """Make the engine's next cycle after the flag appears do it."""
    cycle = Engine.cycle

    def faulty(self: Engine) -> bool:
        if FLAG.exists():
            FLAG.unlink()
            FAULTS[fault]()
        return cycle(self)

    Engine.cycle = faulty


def shift_clocks() -> None:
    """Wall-clock and boot time as the flag file says: `WALL BOOT`, in seconds."""
    wall, clock, boot = time.time, time.clock_gettime, sysfs.Clock.boottime

    def offsets() -> list[float]:
        try:
            return [float(word) for word in FLAG.read_text().split()]
        except (OSError, ValueError):
            return [0.0, 0.0]

    time.time = lambda: wall() + offsets()[0]
    time.clock_gettime = lambda which: clock(which) + (offsets()[0] if which == time.CLOCK_REALTIME else 0.0)
    sysfs.Clock.boottime = lambda self: boot(self) + offsets()[1]


if __name__ == "__main__":
    kind = sys.argv[1]
    if kind == "clocks":
        shift_clocks()
    else:
        arm(kind)
    sys.exit(main(sys.argv[2:]))
