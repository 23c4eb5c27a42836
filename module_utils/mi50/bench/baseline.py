"""VRAM before an engine, when it has loaded, and after it: a number without its baseline means little.

A forgotten service held 8.2 GB of an MI50 once, and every figure of the next engine with it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from . import host, record
from .sampler import Reader
from .store import Store, utc

_MEMORY = re.compile(r"^drm-memory-vram:\s*(\d+) (KiB|MiB|B)?", re.MULTILINE)
_CLIENT = re.compile(r"^drm-client-id:\s*(\d+)", re.MULTILINE)
_DEVICE = re.compile(r"^drm-pdev:\s*(\S+)", re.MULTILINE)
_UNITS = {"KiB": 1024, "MiB": 1024**2, "B": 1, None: 1}
# The driver gives memory back a moment after a process has ended.
SETTLE_S = 15.0


def holders(roots: host.Roots, bdf: str) -> list[dict[str, Any]]:
    """Return who holds VRAM of a card, the most first: pid, name, bytes (fdinfo of the amdgpu driver)."""
    found: dict[int, int] = {}
    seen: set[tuple[int, str]] = set()
    for directory in roots.proc.glob("[0-9]*"):
        try:
            texts = [path.read_text(errors="replace") for path in (directory / "fdinfo").iterdir()]
        except OSError:
            continue
        for text in texts:
            client, device, memory = _CLIENT.search(text), _DEVICE.search(text), _MEMORY.search(text)
            if not (client and memory and device and device.group(1) == bdf):
                continue
            key = (int(directory.name), client.group(1))
            if key not in seen:  # one client may have several file descriptors
                seen.add(key)
                held = int(memory.group(1)) * _UNITS[memory.group(2)]
                found[key[0]] = found.get(key[0], 0) + held
    most = sorted(found.items(), key=lambda item: -item[1])[:10]
    return [{"pid": pid, "name": _name(roots.proc / str(pid)), "bytes": held} for pid, held in most if held]


def _name(directory: Path) -> str:
    try:
        return (directory / "comm").read_text().strip()
    except OSError:
        return "?"


def take(
    store: Store,
    roots: host.Roots,
    gpu: dict[str, Any] | None,
    device: Path | None,
    phase: str,
    limit_bytes: int,
    settle_s: float = SETTLE_S,
) -> dict[str, Any]:
    """Read, judge and record the VRAM in use at a phase (before, loaded, after); wait for memory being given back."""
    earlier = [r for r in store.records if r["type"] == "baseline" and r["phase"] == "before"]
    before: dict[str, Any] = earlier[-1] if earlier else {}
    allowed = limit_bytes + (before.get("vram_used") or 0 if phase == "after" else 0)
    used = gtt = None
    if device is not None:
        reader = Reader(device)
        until = time.monotonic() + settle_s
        while True:
            sample = reader.read()
            used, gtt = sample.vram, sample.gtt
            if phase == "loaded" or used is None or used <= allowed or time.monotonic() >= until:
                break
            time.sleep(0.2)
        reader.close()
    known = used is not None and before.get("vram_used") is not None
    leak = round((used or 0) - before["vram_used"]) if phase == "after" and known else None
    dirty = phase != "loaded" and used is not None and used > allowed
    holding = holders(roots, gpu["bdf"]) if gpu and dirty else []
    names = ", ".join(f"{row['name']} ({row['pid']}): {row['bytes'] >> 20} MiB" for row in holding)
    names = names or "nobody to be seen"
    reason = f"{(used or 0) / 1048576:.0f} MiB of VRAM in use, {allowed >> 20} MiB are allowed; held by {names}"
    row = {
        **store.head("baseline"),
        "phase": phase,
        "framework": store.engine,
        "taken_utc": utc(),
        "vram_used": None if used is None else round(used),
        "gtt_used": None if gtt is None else round(gtt),
        "vram_total": gpu["vram_total"] if gpu else None,
        "limit_bytes": limit_bytes,
        "leak_bytes": leak,
        "status": record.DIRTY_BASELINE if dirty else record.OK,
        "reason": reason if dirty else None,
        "holders": holding,
    }
    store.append(row)
    return row
