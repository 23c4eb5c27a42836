"""Piecewise linear curves."""

from __future__ import annotations

from itertools import pairwise

Points = tuple[tuple[float, float], ...]


def value(points: Points, x: float) -> float:
    """The curve at x; constant beyond its ends. An empty curve is 0."""
    if not points:
        return 0.0
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]
