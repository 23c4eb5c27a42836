"""The verbs of people: check, channels, status, ack, detect, map, calibrate."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from . import VERSION, files
from .cli import CONFIG, USAGE, fail
from .config import Config, ConfigError, load
from .sysfs import Clock

HEALTHY, ALARMS, ABSENT = 0, 1, 3
STALE_SECONDS = 10.0
SKEW_SECONDS = 1.0


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    top = argparse.ArgumentParser(prog="mi50-fand", description="Keeps passively cooled MI50 cards cool.")
    top.add_argument("--version", action="version", version=VERSION)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", default=CONFIG, help="configuration (default: %(default)s)")
    common.add_argument("--sysfs-root", default="/sys", help=argparse.SUPPRESS)
    common.add_argument("--proc-root", default="/proc", help=argparse.SUPPRESS)
    printable = argparse.ArgumentParser(add_help=False)
    printable.add_argument("--json", action="store_true", help="print JSON")
    verbs.add_parser("run", parents=[common], help="control the blowers, in the foreground")
    verbs.add_parser("check", parents=[common], help="explain every mistake of the configuration")
    verbs.add_parser("channels", parents=[common], help="print the owned channels, for the shell fail-safe")
    verbs.add_parser("status", parents=[common, printable], help="show the running daemon's last cycle")
    ack = verbs.add_parser("ack", parents=[common], help="accept that a card is gone; its blower may slow down")
    ack.add_argument("gpu", help="name of the card in the configuration")
    verbs.add_parser("detect", parents=[common, printable], help="list cards, fan chips and rivals; writes nothing")
    mapping = verbs.add_parser("map", parents=[common, printable], help="raise one channel after the other")
    mapping.add_argument("--device", default="", help="this device alone")
    mapping.add_argument("--channel", type=int, default=0, help="this channel alone")
    mapping.add_argument(
        "--seconds", type=float, default=8.0, help="time for a blower to answer (default: %(default)s)"
    )
    sweep = verbs.add_parser("calibrate", parents=[common, printable], help="measure duty against RPM under a gate")
    sweep.add_argument("--blower", default="", help="this blower alone")
    sweep.add_argument("--start-limit", type=float, default=55.0, help="hottest °C to begin at (default: %(default)s)")
    sweep.add_argument("--abort-limit", type=float, default=75.0, help="°C that end it (default: %(default)s)")
    sweep.add_argument("--seconds", type=float, default=8.0, help="time to settle at a duty (default: %(default)s)")
    return top


def parse_and_do(argv: list[str]) -> int:
    """The exit code of the verb."""
    options = parser().parse_args(argv)
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "check": _check,
        "channels": _channels,
        "status": _status,
        "ack": _ack,
        "detect": _detect,
        "map": _map,
        "calibrate": _calibrate,
    }
    return verbs[options.verb](options)


def _run(options: argparse.Namespace) -> int:
    from .daemon import run

    return run(options.config, options.sysfs_root, options.proc_root)


def _load(options: argparse.Namespace) -> Config | None:
    try:
        return load(options.config)
    except ConfigError as error:
        for problem in error.problems:
            fail(f"{options.config}: {problem}")
        return None


def _check(options: argparse.Namespace) -> int:
    config = _load(options)
    if config is None:
        return USAGE
    for warning in config.warnings:
        print(f"warning: {options.config}: {warning}")
    for blower in config.blowers:
        how = f"channel {blower.channel} of {blower.chip}" if blower.controlled else "monitored, never written"
        print(f"{blower.name}: {how}, cools {', '.join(blower.gpus)}")
    print(f"{options.config}: good, {len(config.warnings)} warnings")
    return 0


def _channels(options: argparse.Namespace) -> int:
    config = _load(options)
    if config is None:
        return USAGE
    sys.stdout.write(config.channel_list())
    return 0


def _runtime(options: argparse.Namespace) -> str:
    """Where the daemon keeps its files; a broken file must not hide what the daemon does."""
    try:
        return load(options.config).runtime
    except ConfigError:
        return "/run/mi50-fand"


def _status(options: argparse.Namespace) -> int:
    from .status import table

    runtime = _runtime(options)
    data = files.read_json(f"{runtime}/status.json")
    beat = files.read_heartbeat(f"{runtime}/heartbeat")
    now = Clock().boottime()
    age = now - max(data.get("boottime", 0.0), beat[0] if beat else 0.0)
    # The kernel rounds its clock down to hundredths here and there: a cycle of this moment may look younger than now.
    alive = bool(data) and -SKEW_SECONDS <= age <= STALE_SECONDS
    age = max(age, 0.0) if alive else age
    if options.json:
        print(json.dumps({**data, "running": alive, "age": round(age, 1) if data else None}, indent=2))
    elif alive:
        print(table(data, age))
    else:
        last = f"its last cycle was {age:.0f} s ago" if data else f"there is no {runtime}/status.json"
        fail(f"not running: {last}; see `systemctl status mi50-fand`")
    if not alive:
        return ABSENT
    return HEALTHY if data["state"] == "ok" and data["verified"] else ALARMS


def _ack(options: argparse.Namespace) -> int:
    config = _load(options)
    if config is None:
        return USAGE
    known = {gpu.name: gpu.pci for gpu in config.gpus}
    if options.gpu not in known:
        return fail(f'no card is called "{options.gpu}"; there are {", ".join(known)}')
    try:
        files.replace(f"{config.runtime}/ack", f"{known[options.gpu]}\n")
    except OSError as error:
        return fail(f"{config.runtime}/ack: {error.strerror}", 1)
    print(f"{options.gpu}: as long as it is off the bus, its blower follows the other cards")
    return 0


def _detect(options: argparse.Namespace) -> int:
    from .detect import detect

    return detect(options.sysfs_root, options.proc_root, options.json)


def _map(options: argparse.Namespace) -> int:
    from .mapping import run

    return run(options)


def _calibrate(options: argparse.Namespace) -> int:
    from .calibrate import run

    return run(options)
