"""The record's file."""

from __future__ import annotations

import json
from pathlib import Path

from .. import config_files
from . import ledger


class RecordError(Exception):
    """The file is none of ours; the text says what to do."""


def read(path: Path) -> ledger.Record | None:
    """Return the record, None when there is none. Raises RecordError, OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RecordError(
            f"is no record any more ({error}); move it away, what came before is then not given back"
        ) from error
    if not isinstance(found, dict) or found.get("format") != ledger.FORMAT:
        raise RecordError("was written by another version of this project; use that one, or move the file away")
    return {**ledger.new(), **found}


def write(path: Path, record: ledger.Record) -> None:
    """Write it by rename, readable for root alone: it lists who is in which group."""
    config_files.write(path, (json.dumps(record, indent=1) + "\n").encode(), 0o600)
