"""What this client costs: timing error and CPU at given rates, on loopback; writes docs/benchmark-client.md."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

from . import calibrate, host

RATES = (100.0, 1000.0, 5000.0)
_PAGE = """# What the benchmark's client costs

Written by `PYTHONPATH=module_utils python3 -m mi50.bench overhead --write docs/benchmark-client.md`;
nothing here is typed in.
A process of its own sends events at the given rate over loopback and stamps each with the monotonic clock that the
client reads as well. Lag is what kernel and client add until an event has its timestamp. The rate error compares
decode by the client's first and last event with the sender's own stamps.
Machine: {machine}; Python {python}; {repeats} streams of {seconds:g} s for each rate; medians, and the worst stream.
Load of the machine (runnable programs on {cpus} processors, last minute): {load:.1f}. Above one a processor, the worst
lags are those of a busy machine and not the client's.

| events/s asked | sent | lag p50 | lag p99 | worst lag | rate error | worst rate error | CPU an event | CPU share |
|---|---|---|---|---|---|---|---|---|
{rows}

CPU is the client's alone (user and system). Greatest resident size of the client: {rss:.0f} MiB.
"""


def _row(rate: float, found: list[dict[str, Any]]) -> str:
    def middle(name: str) -> float:
        return float(statistics.median(item[name] for item in found))

    errors = [abs(item["rate_error"]) for item in found]
    share = middle("cpu_us_per_event") * middle("sent_per_s") / 1e6
    return (
        f"| {rate:g} | {middle('sent_per_s'):.0f} | {middle('lag_us_p50'):.0f} us | {middle('lag_us_p99'):.0f} us | "
        f"{max(item['lag_us_max'] for item in found):.0f} us | {statistics.median(errors):.4%} | {max(errors):.4%} | "
        f"{middle('cpu_us_per_event'):.0f} us | {share:.1%} |"
    )


def _machine() -> str:
    cpu = "?"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return f"{cpu}, {platform.system()} {platform.machine()}"


def main(write: str | None, seconds: float, repeats: int) -> int:
    """Measure, print or write the page. Returns 1 when a stream did not arrive whole."""
    rows = []
    for rate in RATES:
        found = [calibrate.stream(max(64, round(rate * seconds)), rate) for _number in range(repeats)]
        broken = [item for item in found if not item["ok"]]
        if broken:
            sys.stderr.write(f"{rate:g} events/s: {broken[0]['reason']}\n")
            return 1
        rows.append(_row(rate, found))
        sys.stderr.write(rows[-1] + "\n")
    page = _PAGE.format(
        machine=_machine(),
        cpus=os.cpu_count(),
        load=os.getloadavg()[0],
        python=platform.python_version(),
        repeats=repeats,
        seconds=seconds,
        rows="\n".join(rows),
        rss=host.peak_rss_mib() or 0.0,
    )
    if write:
        Path(write).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0
