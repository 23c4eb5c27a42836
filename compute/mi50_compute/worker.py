"""The child process: runs operations on one device and prints a line of JSON before and after each.

Whatever kills it (an abort inside rocBLAS, a hang that the parent ends), the parent knows which operation it was in.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from mi50_compute import operations


def emit(**event: object) -> None:
    """One line for the parent, at once."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def describe(device: torch.device) -> dict[str, Any]:
    """What torch says of the device."""
    if device.type != "cuda":
        return {"name": "CPU", "gfx_target": None, "memory": None}
    properties = torch.cuda.get_device_properties(device)
    # ROCm's torch: gcnArchName is `gfx906:sramecc+:xnack-`.
    return {
        "name": properties.name,
        "gfx_target": getattr(properties, "gcnArchName", "").split(":")[0] or None,
        "memory": properties.total_memory,
    }


def run(device_name: str, ids: list[str]) -> None:
    """Run the operations in their order; an exception of one does not stop the next."""
    device = torch.device(device_name)
    emit(event="device", **describe(device))
    for name in ids:
        emit(event="start", id=name)
        started = time.monotonic()
        try:
            verdict = operations.BY_ID[name].run(device)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        except Exception as error:
            emit(event="error", id=name, detail=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started)
            continue
        emit(
            event="done",
            id=name,
            ok=verdict.ok,
            # JSON has no infinity.
            ratio=verdict.ratio if verdict.ratio != float("inf") else None,
            detail=verdict.detail,
            seconds=time.monotonic() - started,
        )


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2].split(","))
