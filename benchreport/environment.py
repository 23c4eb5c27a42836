"""What each run ran on: the header of the report, and what differs between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .records import Record, Run
from .tables import NOTHING, Column, Table, Value

# Key in the run's line: words for it. In the order in which a reader asks.
ITEMS = {
    "run_id": "run",
    "note": "note",
    "started_utc": "began (UTC)",
    "where": "client ran on",
    "suite.id": "suite",
    "suite.sha256": "suite's sha256",
    "gpu.name": "card",
    "gpu.bdf": "PCI address",
    "gpu.gfx": "architecture",
    "gpu.vbios": "VBIOS",
    "gpu.vram_total": "VRAM",
    "gpu.power_cap_w": "power cap",
    "gpu.sclk_max_mhz": "core clock at most",
    "gpu.mclk_max_mhz": "memory clock at most",
    "gpu.driver": "kernel driver",
    "gpu.rocm": "ROCm",
    "gpu.mesa": "Mesa",
    "gpu.vulkan": "Vulkan",
    "framework.version": "engine's version",
    "framework.commit": "engine's commit",
    "framework.image_digest": "image",
    "framework.backend_reported": "backend",
    "framework.cmdline": "command line",
    "framework.env_allowlist": "environment",
    "framework.slots": "slots",
    "framework.t1_rule": "first token by",
    "framework.prefill_clock": "prefill's clock",
    "node.cpu": "CPU",
    "node.cpus": "logical CPUs",
    "node.governor": "governor",
    "node.memory_bytes": "memory",
    "node.kernel": "kernel",
    "node.os": "operating system",
    "node.container": "container",
    "node.load1": "load at the start",
    "client.python": "client's Python",
    "client.version": "client's version",
    "harness_commit": "this repository's commit",
    "clock_sync": "clock synchronised",
}
_UNITS = {"gpu.power_cap_w": "W", "gpu.sclk_max_mhz": "MHz", "gpu.mclk_max_mhz": "MHz"}
_BYTES = ("gpu.vram_total", "node.memory_bytes")
# What differs between any two runs and explains nothing.
_ALWAYS_DIFFERENT = ("run_id", "started_utc", "node.load1", "note")


def table(runs: Sequence[Run]) -> Table:
    """Return one column a run and engine, one line for each item that anybody knows."""
    several = len({run.run_id for run in runs}) > 1
    heads = [f"{run.node} · {run.framework}" + (f" · {run.run_id}" if several else "") for run in runs]
    found = Table("environment", "Environment", [Column("")] + [Column(head) for head in heads])
    for key, words in ITEMS.items():
        values = [shown(key, run.head) for run in runs]
        if any(value != "" for value in values):
            found.rows.append([Value(words), *(Value(value) if value else NOTHING for value in values)])
    return found


def shown(key: str, head: Record) -> str:
    """Return one item of a run's line as text, empty when it is not known."""
    value: object = head
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{name}={content}" for name, content in sorted(value.items())]
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, (int, float)):
        return f"{value / 2**30:.1f} GiB" if key in _BYTES else f"{value:g} {_UNITS.get(key, '')}".strip()
    return str(value)[:12] if key.endswith("sha256") else str(value)


def differences(one: Run, other: Run) -> list[tuple[str, str, str]]:
    """Return (item, of the first, of the second) for what differs and may explain a difference in speed."""
    found = []
    for key, words in ITEMS.items():
        before, after = shown(key, one.head), shown(key, other.head)
        if key not in _ALWAYS_DIFFERENT and before != after:
            found.append((words, before or "not known", after or "not known"))
    return found
