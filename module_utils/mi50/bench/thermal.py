"""Brings a card to a thermal steady state before anything is measured, and says so when there is none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from .sampler import Sample, Sampler

_SEGMENTS = 4
_FLAT_C = 1.0


def flatness(samples: Sequence[Sample], window_s: float) -> float | None:
    """Return how far apart the medians of the last window's four parts are (degrees); None for too short a time."""
    if not samples:
        return None
    end = samples[-1].t_ns
    start = end - round(window_s * 1e9)
    if samples[0].t_ns > start:
        return None
    parts: list[list[float]] = [[] for _part in range(_SEGMENTS)]
    for sample in samples:
        if sample.t_ns > start and sample.hottest is not None:
            parts[min(_SEGMENTS - 1, (sample.t_ns - start) * _SEGMENTS // (end - start))].append(sample.hottest)
    if not all(parts):
        return None
    medians = [statistics.median(part) for part in parts]
    return max(medians) - min(medians)


def settle(
    sampler: Sampler, mode: str, window_s: float, cap_s: float, work: Callable[[], bool], pause: Callable[[float], None]
) -> dict[str, Any]:
    """Send work (or wait, in mode idle) until the temperature is flat over the window or the cap is reached.

    `work` returns whether to go on: a server that fails is not preheated for ten minutes. Returns the control record:
    state warm, idle, cap, no_sensors or off.
    """
    if mode == "off" or not sampler.has_temperature:
        return {"state": "off" if mode == "off" else "no_sensors", "seconds": 0.0, "temp_c": None, "spread_c": None}
    started = time.monotonic()
    first = time.monotonic_ns()
    state = "cap"
    spread = None
    while time.monotonic() - started < cap_s:
        spread = flatness(sampler.between(first, time.monotonic_ns()), window_s)
        if spread is not None and spread <= _FLAT_C:
            state = mode
            break
        if mode == "idle":
            pause(min(1.0, window_s / _SEGMENTS))
        elif not work():
            break
    latest = next((s.hottest for s in reversed(sampler.samples) if s.hottest is not None), None)
    return {"state": state, "seconds": time.monotonic() - started, "temp_c": latest, "spread_c": spread}
