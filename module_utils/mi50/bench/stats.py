"""Medians with intervals that assume no distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

# Least coverage of an interval; six values give 1 - 2 * 0.5^6 = 96.9 % between the least and the greatest.
COVERAGE = 0.95


def _tail(n: int, k: int) -> float:
    """Return P(X <= k) for X binomial with n trials of one half."""
    return float(sum(math.comb(n, i) for i in range(k + 1))) / 2.0**n


def median_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return (low, high, coverage) of the median's narrowest order-statistic interval of at least COVERAGE.

    With k values left out on either side it covers 1 - 2 P(X <= k). None for fewer than six values.
    """
    n = len(values)
    best = None
    for k in range(n // 2):
        coverage = 1.0 - 2.0 * _tail(n, k)
        if coverage < COVERAGE:
            break
        best = (k, coverage)
    if best is None:
        return None
    ordered = sorted(values)
    return ordered[best[0]], ordered[n - 1 - best[0]], best[1]


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return median, interval, MAD (unscaled), CV and the values themselves."""
    if not values:
        return {
            "median": None,
            "low": None,
            "high": None,
            "coverage": None,
            "mad": None,
            "cv": None,
            "n": 0,
            "values": [],
        }
    median = statistics.median(values)
    interval = median_interval(values)
    mean = statistics.fmean(values)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {
        "median": median,
        "low": interval[0] if interval else None,
        "high": interval[1] if interval else None,
        "coverage": interval[2] if interval else None,
        "mad": statistics.median(abs(value - median) for value in values),
        "cv": spread / mean if spread is not None and mean else None,
        "n": len(values),
        "values": list(values),
    }


def width(values: Sequence[float]) -> float | None:
    """Return the interval's width as a share of the median; None where there is no interval."""
    interval = median_interval(values)
    median = statistics.median(values) if values else 0.0
    return (interval[1] - interval[0]) / median if interval and median else None


def slope(lengths: tuple[float, float], short: Sequence[float], long: Sequence[float]) -> dict[str, float | None]:
    """Return prefill by two prompt lengths (tokens; seconds each): tokens/s, its range, and the overhead in seconds.

    The range takes the intervals of both medians at their worst. Engine, network and template cancel out.
    """
    more = lengths[1] - lengths[0]
    at_short, at_long = statistics.median(short), statistics.median(long)
    rate = more / (at_long - at_short) if more > 0 and at_long > at_short else None
    low = high = None
    first, second = median_interval(short), median_interval(long)
    if rate and first and second:
        low = more / (second[1] - first[0])
        high = more / (second[0] - first[1]) if second[0] > first[1] else None
    return {"rate": rate, "low": low, "high": high, "overhead": at_short - lengths[0] / rate if rate else None}
