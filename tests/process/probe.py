"""Runs inside the container: does one thing to the daemon and measures, every 5 ms, what the fans do.

    probe.py kill SIGNAL            lower the channels behind the daemon's back, signal it, wait for full speed
    probe.py touch FILE             the same, with a fault that a file sets off (probe_faulty.py)
    probe.py systemctl WORD…        the same, with systemctl
    probe.py watch SECONDS          lowest duty seen meanwhile
    probe.py until FILE TEXT        seconds until a file holds a text (with ! in front: does not hold it)

Prints JSON. `full_s`: seconds to full speed on every channel; `back_s`: seconds until the next completed cycle.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CHIP = Path("/srv/fan/sys/devices/platform/nct6775.656/hwmon/hwmon3")
PWMS = [CHIP / "pwm1", CHIP / "pwm2"]
HEARTBEAT = Path("/run/mi50-fand/heartbeat")
LOW = 100
STEP = 0.005
LIMIT = 20.0


def main_pid() -> int:
    command = ["systemctl", "show", "-p", "MainPID", "--value", "mi50-fand.service"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def duties() -> list[int]:
    """Duties; a file that is being written right now counts as unchanged full speed would not: it is read again."""
    found = []
    for path in PWMS:
        text = ""
        while not text:
            text = path.read_text().strip()
        found.append(int(text))
    return found


def beat() -> float:
    try:
        return float(HEARTBEAT.read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return 0.0


def lower() -> None:
    """Right after a cycle, so that no cycle of the daemon comes between this and the fault."""
    seen = beat()
    end = time.monotonic() + 3
    while beat() == seen and time.monotonic() < end:
        time.sleep(STEP)
    time.sleep(0.05)
    for path in PWMS:
        path.write_text(f"{LOW}\n")


def measure(wait_back: bool) -> dict[str, float]:
    began = time.monotonic()
    stamp = time.clock_gettime(time.CLOCK_BOOTTIME)
    full = back = -1.0
    while time.monotonic() - began < LIMIT and (full < 0 or (wait_back and back < 0)):
        if full < 0 and min(duties()) == 255:
            full = time.monotonic() - began
        if back < 0 and beat() > stamp:
            back = time.monotonic() - began
        time.sleep(STEP)
    return {"full_s": round(full, 3), "back_s": round(back, 3)}


def watch(seconds: float) -> dict[str, int]:
    lowest, end = 255, time.monotonic() + seconds
    while time.monotonic() < end:
        lowest = min(lowest, *duties())
        time.sleep(STEP)
    return {"lowest": lowest}


def until(path: Path, text: str) -> dict[str, float]:
    began = time.monotonic()
    while time.monotonic() - began < LIMIT:
        held = path.is_file() and path.read_text()
        if held and (text in held if text[0] != "!" else text[1:] not in held):
            return {"seconds": round(time.monotonic() - began, 3)}
        time.sleep(0.02)
    return {"seconds": -1}


def main(words: list[str]) -> object:
    verb, rest = words[0], words[1:]
    if verb == "watch":
        return watch(float(rest[0]))
    if verb == "until":
        return until(Path(rest[0]), rest[1])
    pid = main_pid()
    lower()
    if verb == "kill":
        os.kill(pid, getattr(signal, rest[0]))
    elif verb == "touch":
        Path(rest[0]).touch()
    else:
        subprocess.Popen(["systemctl", *rest])
    return measure(wait_back=verb != "systemctl")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
