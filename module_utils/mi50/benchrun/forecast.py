"""How long a host's measurement will still take, from what its finished cells took."""

from __future__ import annotations

from typing import Any

# A token of prompt costs about so much of one of the answer.
_PROMPT = 1 / 16


class Forecast:
    """Learns seconds a token, apart for answers that end by themselves (their limit says little) and for the rest."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._seen: dict[str, tuple[float, float]] = {}  # tokens, seconds
        self._left: dict[str, float] = {}  # tokens

    def expect(self, cells: list[dict[str, Any]]) -> None:
        """Take note of cells (as plan.cells makes them) that are to be measured."""
        self._take(cells, 1)

    def drop(self, cells: list[dict[str, Any]]) -> None:
        """Take expected cells off: they need not be measured."""
        self._take(cells, -1)

    def done(self, cell: dict[str, Any], seconds: float | None) -> None:
        """Take a cell off; learn from the seconds, if it was measured at all."""
        self.drop([cell])
        kind, tokens = _work(cell)
        if seconds is not None and tokens:
            before = self._seen.get(kind, (0.0, 0.0))
            self._seen[kind] = before[0] + tokens, before[1] + seconds

    def text(self) -> str:
        """Return what is left in words, empty when nothing is left or known."""
        left = {kind: tokens for kind, tokens in self._left.items() if tokens > 0}
        known = [
            tokens * self._seen[kind][1] / self._seen[kind][0] for kind, tokens in left.items() if kind in self._seen
        ]
        if not known:
            return ""
        return f"{'about' if len(known) == len(left) else 'more than'} {duration(sum(known))} left"

    def _take(self, cells: list[dict[str, Any]], sign: int) -> None:
        for cell in cells:
            kind, tokens = _work(cell)
            self._left[kind] = self._left.get(kind, 0.0) + sign * tokens


def _work(cell: dict[str, Any]) -> tuple[str, float]:
    """Kind of a cell, and its tokens as far as they can be foreseen."""
    task, measure = cell["task"], cell["measure"]
    requests = measure["repeats"] + measure["warmups"]
    prompt = sum(task["lengths"]) or task["context"]
    tokens = requests * (prompt * _PROMPT + task["max_tokens"]) * task.get("concurrency", 1)
    return task["mode"], 0.0 if cell["model"].get("unsupported") else float(tokens)


def duration(seconds: float) -> str:
    """Return seconds as people say them: 40 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
