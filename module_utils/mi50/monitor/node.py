"""Everything of a node as metrics, written for node-exporter. Run by a timer, as a user without rights.

    mi50-monitor --metrics FILE [--root DIR] [--sysfs-root DIR] [--proc-root DIR] [--dev-root DIR] [--expected N]

node-exporter's own collectors drm and hwmon have temperature, power and memory as well, under names that change with
the kernel (card0, a chip's path on the bus), and without what alarms need beside them: limits, throttling, error
counters, who holds the memory, and the PCI address to find the card by.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import cards, engines, gpus
from .text import Family, publish, render


def metrics(root: Path, sysfs: Path, proc: Path, dev: Path, expected: int | None = None) -> str:
    """Return the text of one look. Raises nothing for what the trees hold."""
    began = time.monotonic()
    now = time.time()
    found, problems = cards.read(sysfs, proc, dev)
    families = [*gpus.families(found, expected), *engines.families(engines.read(root), now)]
    own = [
        Family("mi50_monitor_timestamp_seconds", "gauge", "When this was looked at.", [({}, round(now, 1))]),
        Family("mi50_monitor_problems", "gauge", "What is wrong with the host's GPU stack.", [({}, len(problems))]),
        Family("mi50_monitor_seconds", "gauge", "How long it took.", [({}, round(time.monotonic() - began, 4))]),
    ]
    return render([*families, *own])


def main(arguments: Sequence[str]) -> int:
    """Look once and write; returns the exit code: 1 when the file cannot be written."""
    parser = argparse.ArgumentParser(prog="mi50-monitor", description="Writes the cards' state for node-exporter.")
    parser.add_argument("--metrics", type=Path, required=True, metavar="FILE")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    for name in ("sys", "proc", "dev"):
        option = "sysfs" if name == "sys" else name
        parser.add_argument(f"--{option}-root", type=Path, default=Path(f"/{name}"), metavar="DIR")
    parser.add_argument("--expected", type=int, default=None, metavar="N")
    given = parser.parse_args(arguments)
    text = metrics(given.root, given.sysfs_root, given.proc_root, given.dev_root, given.expected)
    try:
        publish(given.metrics, text)
    except OSError as error:
        sys.stderr.write(f"<3>cannot write {given.metrics}: {error.strerror}\n")
        return 1
    return 0
