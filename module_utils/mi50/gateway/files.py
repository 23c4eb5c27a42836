"""Files of the service's user: 0600, written by rename, and read back."""

from __future__ import annotations

import os
from pathlib import Path

from .. import config_files

MODE = 0o600


def write(path: Path, text: str, owner: int) -> None:
    """Write one file; nobody but root and `owner` can read it at any moment. Raises OSError."""
    fresh = not path.parent.exists()
    config_files.write(path, text.encode(), MODE)
    os.chown(path, owner, -1)
    if fresh:
        path.parent.chmod(0o700)
        os.chown(path.parent, owner, -1)


def read_map(path: Path) -> dict[str, str]:
    """Return a map file of HAProxy's: the first word of a line to the rest. Empty when there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines if line.strip()}
