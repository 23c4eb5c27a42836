"""Tokens of hubs: read from files on the node, never from arguments, so that no log or process list can show them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from .errors import ModelError

_MAX_TOKEN = 4096


def read(files: Mapping[str, str]) -> dict[str, str]:
    """Return each hub's token. Raises ModelError for a file that others may read, or that holds none."""
    return {source: _one(source, Path(path)) for source, path in files.items() if path}


def _one(source: str, path: Path) -> str:
    where = f"models_token_files.{source}: {path}"
    try:
        with path.open(encoding="ascii") as stream:
            status = os.fstat(stream.fileno())
            text = stream.read(_MAX_TOKEN).strip()
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ModelError(f"{where}: holds no token.") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ModelError(f"{where}: can be read by others (mode {stat.S_IMODE(status.st_mode):04o}). chmod 600 it.")
    if not text or any(not character.isprintable() or character.isspace() for character in text):
        raise ModelError(f"{where}: holds no token; it is one word.")
    return text
