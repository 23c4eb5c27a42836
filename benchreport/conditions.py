"""What has to be the same for a verdict about speed, beside the key: driver, power, clocks, KV cache, ..."""

from __future__ import annotations

from . import environment
from .rows import Row

# Condition: items of the run's line. A comparison may leave a condition out, by its name.
OF_THE_RUN: dict[str, tuple[str, ...]] = {
    "gpu": ("gpu.name", "gpu.gfx", "gpu.vram_total"),
    "driver": ("gpu.driver", "gpu.rocm", "gpu.mesa", "gpu.vulkan"),
    "power": ("gpu.power_cap_w",),
    "clocks": ("gpu.sclk_max_mhz", "gpu.mclk_max_mhz", "gpu.vbios"),
    "backend": ("framework.backend_reported",),
    "client": ("where",),
}
# Likewise of the model's record.
OF_THE_MODEL: dict[str, dict[str, str]] = {
    "weights": {"mmproj_sha256": "projector's sha256"},
    "kv": {"kv_type": "type of the KV cache"},
}
# More processes wanted to run than there are processors: what was measured is the other work as well.
LOAD = "load"
NAMES = (*dict.fromkeys([*OF_THE_RUN, *OF_THE_MODEL]), LOAD)


def unlike(a: Row, b: Row, across: tuple[str, ...]) -> list[str]:
    """Return one sentence a condition that is not the same in A and B and was not left out."""
    found = []
    for name in NAMES:
        if name in across:
            continue
        pairs = [
            (environment.ITEMS[key], environment.shown(key, a.run.head), environment.shown(key, b.run.head))
            for key in OF_THE_RUN.get(name, ())
        ]
        pairs += [
            (words, str(a.model.get(key) or ""), str(b.model.get(key) or ""))
            for key, words in OF_THE_MODEL.get(name, {}).items()
        ]
        differing = [f"{words}: {x or 'not known'}, {y or 'not known'}" for words, x, y in pairs if x != y]
        if differing:
            found.append(f"{name} differs ({'; '.join(differing)}); compare across={name} to allow it")
    busy = [f"{side}: {words}" for side, row in (("A", a), ("B", b)) if (words := overloaded(row))]
    if busy and LOAD not in across:
        found.append(f"the node had other work ({'; '.join(busy)}); compare across={LOAD} to allow it")
    return found


def overloaded(row: Row) -> str:
    """Say how loaded the node was when the run began, if it was more than its processors can do; else nothing."""
    node = row.run.head.get("node") or {}
    load, cpus = node.get("load1"), node.get("cpus")
    return f"load {load:g} on {cpus} processors" if load and cpus and load > cpus else ""
