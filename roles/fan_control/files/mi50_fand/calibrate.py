"""Measures a blower's duty against its RPM, from full speed downwards, with the cards idle and cool."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from .bench import Aborted, Bench, Refused
from .config import BlowerConfig, Config, ConfigError, load
from .files import LockHeld
from .ramp import pwm
from .sysfs import Sysfs
from .tacho import STILL_RPM

if TYPE_CHECKING:
    import argparse
    from typing import Any

ABORTED, USAGE, LOCKED, REFUSED = 1, 2, 3, 4
DUTIES = (100, 85, 70, 55, 45, 35, 30, 25, 20, 15)
IDLE_WATTS = 60.0
# A blower that is slower at full duty than at half has its PWM inverted.
INVERTED = 1.1
RESPONSE = 1.2


def speed(bench: Bench, blower: BlowerConfig, duty: float, seconds: float) -> float:
    """RPM after the blower has settled at a duty in %: mean of three looks. Raises Aborted."""
    bench.set(blower, pwm(duty))
    bench.wait(seconds)
    looks = []
    for _ in range(3):
        bench.wait(0.5)
        channel = bench.own(blower)
        if channel.chip is None or blower.tacho is None:
            raise Aborted(f"{blower.name}: went away")
        looks.append(bench.rpm(channel.chip.base, blower.tacho))
    return sum(looks) / len(looks)


def sweep(bench: Bench, blower: BlowerConfig, seconds: float) -> dict[str, Any]:
    """The `calibration`, `start` and lowest sensible `floor` of a blower. Raises Aborted, Refused."""
    full = speed(bench, blower, 100, seconds)
    half = speed(bench, blower, 55, seconds)
    if half > full * INVERTED:
        bench.set(blower, 0)  # which is this blower's full speed; 255 would leave it standing
        bench.owned.pop(blower.key)
        raise Refused(
            f"{blower.name}: {half:.0f} RPM at 55 %, {full:.0f} at 100 %: the PWM is inverted, and full speed would "
            "stop the blower. Change the polarity in the firmware setup or the driver before anything else"
        )
    if full < STILL_RPM:
        raise Refused(
            f"{blower.name}: fan{blower.tacho}_input shows {full:.0f} RPM at 100 %: wrong tacho, or no blower"
        )
    if full < half * RESPONSE:
        raise Refused(
            f"{blower.name}: {half:.0f} RPM at 55 %, {full:.0f} at 100 %: the channel does not move this blower; run "
            "`map`, or set the header from DC to PWM mode in the firmware setup"
        )
    points = [(100.0, full)]
    for duty in DUTIES[1:]:
        rpm = speed(bench, blower, duty, seconds)
        if rpm < STILL_RPM:
            break
        points.append((float(duty), min(rpm, points[-1][1])))
    points.reverse()
    start = _start(bench, blower, seconds)
    bench.set(blower, 255)
    return {"calibration": [[duty, round(rpm)] for duty, rpm in points], "start": start, "floor": max(15, start)}


def _start(bench: Bench, blower: BlowerConfig, seconds: float) -> float:
    """Lowest duty in % at which the blower turns from rest; 0 when it cannot be stopped by its duty."""
    if speed(bench, blower, 0, seconds) >= STILL_RPM:
        return 0.0
    for duty in range(5, 100, 5):
        if speed(bench, blower, duty, seconds / 2) >= STILL_RPM:
            return float(duty)
    raise Aborted(f"{blower.name}: does not start again below 100 %")


def gate(bench: Bench, start_limit: float) -> None:
    """Raises Refused when a card is too hot or at work."""
    hottest, watts = bench.hottest(), bench.watts()
    if hottest > start_limit:
        raise Refused(f"a card is at {hottest:.0f} °C; wait until it is below {start_limit:.0f}")
    if watts > IDLE_WATTS:
        raise Refused(f"a card draws {watts:.0f} W; stop what runs on it")


def chosen(config: Config, name: str) -> list[BlowerConfig]:
    """The controlled blowers with a tacho, or the named one. Raises Refused."""
    found = [blower for blower in config.blowers if blower.controlled and name in {"", blower.name}]
    if not found:
        names = ", ".join(blower.name for blower in config.blowers if blower.controlled)
        raise Refused(f'no controlled blower is called "{name}"; there are: {names or "none"}')
    blind = [blower.name for blower in found if not blower.tacho]
    if blind:
        raise Refused(f"{', '.join(blind)}: no tacho, nothing to measure")
    return found


def run(options: argparse.Namespace) -> int:
    """Print the measured keys; the exit code of the verb."""
    try:
        config = load(options.config)
    except ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return USAGE
    bench = Bench(Sysfs(options.sysfs_root), config.runtime, options.proc_root, [gpu.pci for gpu in config.gpus])
    code, result, text = measure(bench, config, options)
    if text:
        print(f"mi50-fand: {text}", file=sys.stderr)
    if result:
        print(json.dumps({"blowers": result}, indent=2))
    return code


def measure(bench: Bench, config: Config, options: argparse.Namespace) -> tuple[int, dict[str, Any], str]:
    """Exit code, what was measured by blower, and what to say."""
    result: dict[str, Any] = {}
    bench.abort_limit = options.abort_limit
    try:
        blowers = chosen(config, options.blower)
        with bench:
            gate(bench, options.start_limit)
            for blower in config.blowers:
                if blower.controlled:
                    bench.set(blower, 255)  # the others stay there, so that one sweep at a time can hurt a card
            for blower in blowers:
                result[blower.name] = sweep(bench, blower, options.seconds)
    except Refused as error:
        return REFUSED, {}, str(error)
    except LockHeld as error:
        return LOCKED, {}, f"{error}; stop the daemon first: systemctl stop mi50-fand"
    except (Aborted, OSError) as error:
        return ABORTED, {}, f"aborted: {error}; every channel was set to full speed{_unproven(bench)}"
    return (ABORTED if bench.left else 0), result, _unproven(bench)


def _unproven(bench: Bench) -> str:
    left = getattr(bench, "left", [])
    return f" (not proven for {', '.join(left)})" if left else ""
