"""Verbs and options. Each verb's code is imported when it is asked for: `run` holds nothing that it does not need."""

from __future__ import annotations

import sys

VERBS = ("run", "check", "channels", "status", "ack", "detect", "map", "calibrate")
CONFIG = "/etc/mi50-fand/config.json"
USAGE = 2


def main(argv: list[str]) -> int:
    """The exit code of a verb; see README.md for the meaning."""
    if argv[:1] == ["run"]:
        options = _plain(argv[1:])
        if options is not None:
            from .daemon import run

            return run(options["--config"], options["--sysfs-root"], options["--proc-root"])
    from .verbs import parse_and_do

    return parse_and_do(argv)


def _plain(words: list[str]) -> dict[str, str] | None:
    """Options of `run` without argparse, which costs 1.5 MB for as long as the daemon lives; None: let it explain."""
    options = {"--config": CONFIG, "--sysfs-root": "/sys", "--proc-root": "/proc"}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in options or (not equals and not rest):
            return None
        options[name] = value if equals else rest.pop(0)
    return options


def fail(text: str, code: int = USAGE) -> int:
    """Say what is wrong and give the exit code."""
    print(f"mi50-fand: {text}", file=sys.stderr)
    return code
