"""What the health timers of the engines last found: module_utils/mi50/serve/health.py writes a file each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .text import Family

RUN_DIR = Path("run/mi50-aipc/serve")
# Word by word what serve.health and serve.probe say; others are shown as they are.
READY, QUIET = "ready", ("stopped", "failed")
_HEALS_SECONDS = 1800.0  # as in serve.health: so far back a new start counts against the next


def read(root: Path) -> list[dict[str, Any]]:
    """Return the status of each engine, by name. Raises nothing: half a file is none."""
    found = []
    for path in sorted((root / RUN_DIR).glob("*.json")):
        try:
            status = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(status, dict) and isinstance(status.get("name"), str) and isinstance(status.get("state"), str):
            found.append(status)
    return found


def families(statuses: list[dict[str, Any]], now: float) -> list[Family]:
    """The engines as metrics; `now` in seconds since 1970."""
    named: list[tuple[dict[str, str], dict[str, Any]]] = [({"engine": one["name"]}, one) for one in statuses]
    heals = [(label, [heal for heal in one.get("heals") or [] if isinstance(heal, dict)]) for label, one in named]
    running = sum(one["state"] not in QUIET for one in statuses)
    return [
        Family(
            "mi50_engine_up",
            "gauge",
            "1 when the last look had an answer.",
            [({**label, "model": str(one.get("model", ""))}, int(one["state"] == READY)) for label, one in named],
        ),
        Family(
            "mi50_engine_state",
            "gauge",
            "The word of the last look.",
            [({**label, "state": one["state"]}, 1) for label, one in named],
        ),
        Family("mi50_engines_running", "gauge", "Engines that are neither stopped nor failed.", [({}, running)]),
        Family(
            "mi50_engine_checked_timestamp_seconds",
            "gauge",
            "When it was looked at.",
            [(label, _number(one, "at")) for label, one in named],
        ),
        Family(
            "mi50_engine_restarts_total",
            "counter",
            "Starts by systemd after an exit.",
            [(label, _number(one, "restarts")) for label, one in named],
        ),
        Family(
            "mi50_engine_heals_recent",
            "gauge",
            "New starts by the health timer within half an hour; at three it stops trying.",
            [
                (label, sum(now - (_number(heal, "at") or 0.0) < _HEALS_SECONDS for heal in done))
                for label, done in heals
            ],
        ),
        Family(
            "mi50_engine_last_heal_timestamp_seconds",
            "gauge",
            "When the health timer last started it anew.",
            [(label, _number(done[-1], "at")) for label, done in heals if done],
        ),
        Family(
            "mi50_engine_tokens_per_second",
            "gauge",
            "Speed of the last completion that the health timer asked for.",
            [(label, _number(one, "tokens_per_second")) for label, one in named],
        ),
    ]


def _number(mapping: Mapping[str, Any], name: str) -> float | None:
    value = mapping.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
