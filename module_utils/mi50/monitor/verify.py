"""What playbooks/verify.yml found last, as metrics: the node keeps it until it is looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .text import Family, render

_WORTH = {"fail": 2, "warn": 1}


def text(report: Mapping[str, Any], now: float) -> str:
    """Return a report ({ok, checks: [{id, status}]}) in Prometheus' format; `now` in seconds since 1970."""
    checks = [({"id": str(one["id"])}, _WORTH.get(str(one["status"]), 0)) for one in report["checks"]]
    return render(
        [
            Family("mi50_verify_ok", "gauge", "1 when no check failed.", [({}, int(bool(report["ok"])))]),
            Family("mi50_verify_timestamp_seconds", "gauge", "When the node was verified.", [({}, round(now))]),
            Family("mi50_verify_check_status", "gauge", "0 ok or not asked, 1 warning, 2 failed.", checks),
        ]
    )
