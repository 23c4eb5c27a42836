"""That a run of ours is at work on the node: written before the first change, taken away when the run has ended.

Unlike the claim of the preflight it outlives a reboot: who finds it knows that the last run was cut off, or failed.
{"format": 1, "since": seconds since 1970}
"""

from __future__ import annotations

import json
from pathlib import Path

from .. import config_files

PATH = "var/lib/mi50-aipc/working.json"
FORMAT = 1


def beside(record: Path) -> Path:
    """Return the journal's path: it lies beside the record."""
    return record.with_name(Path(PATH).name)


def read(path: Path) -> float | None:
    """Return when the run began that has not ended; None when there is none, or nobody can tell."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return float(found["since"]) if found["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def begin(path: Path, now: float) -> None:
    """Write that a run begins. Raises OSError."""
    config_files.write(path, (json.dumps({"format": FORMAT, "since": int(now)}) + "\n").encode(), 0o600)


def end(path: Path) -> None:
    """Take it away. Raises OSError."""
    path.unlink(missing_ok=True)
