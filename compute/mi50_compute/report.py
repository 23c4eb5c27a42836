"""The outcome as JSON and as a table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mi50_compute.supervise import DeviceReport, Result


def as_dict(versions: dict[str, Any], devices: list[DeviceReport], joint: list[Result]) -> dict[str, Any]:
    """The whole outcome; `failures` names every operation that was not right, as device/operation."""
    failures = [f"{device.device}/{result.id}" for device in devices for result in device.results if not result.ok]
    failures += [result.id for result in joint if not result.ok]
    return {
        "ok": bool(devices or joint) and not failures and all(device.ok for device in devices),
        "failures": failures,
        **versions,
        "devices": [{**asdict(device), "ok": device.ok} for device in devices],
        "joint": [asdict(result) for result in joint],
    }


def as_json(outcome: dict[str, Any]) -> str:
    """One JSON object."""
    return json.dumps(outcome, indent=2)


def line(device: str, result: Result | dict[str, Any]) -> str:
    """One row of the table, with the way out below it when there is one."""
    row = result if isinstance(result, dict) else asdict(result)
    text = f"{device:<8} {row['id']:<24} {row['status']:<6} {row['seconds']:>7.2f} s  {row['detail']}"
    return text + (f"\n{'':<8} -> {row['remedy']}" if row["remedy"] else "")


def verdict(outcome: dict[str, Any]) -> str:
    """The last line: what counts."""
    count = sum(len(device["results"]) for device in outcome["devices"]) + len(outcome["joint"])
    if outcome["ok"]:
        return f"{count} operations on {len(outcome['devices'])} device(s): all right"
    named = ", ".join(outcome["failures"]) or "no device"
    return f"{len(outcome['failures'])} of {count} operations are not right: {named}"
