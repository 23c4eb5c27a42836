"""A set of small configuration files, compared and written in one go."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODE = 0o644


@dataclass(frozen=True)
class File:
    """What one file shall be: its path, its whole text (None: no file) and its mode."""

    path: Path
    content: str | None
    mode: int = MODE


@dataclass(frozen=True)
class Change:
    """One file that differs; `before` is None when there is none."""

    file: File
    before: str | None
    before_mode: int | None

    def diff(self) -> dict[str, Any]:
        """In the form Ansible prints."""
        path = str(self.file.path)
        now = "" if self.file.content is None else self.file.content
        header = "" if self.before == now else " (text)"
        if self.before is not None and self.file.content is not None and self.before_mode != self.file.mode:
            header += f" (mode {self.before_mode:04o} to {self.file.mode:04o})"
        return {"before_header": path, "after_header": path + header, "before": self.before or "", "after": now}


def plan(files: list[File]) -> list[Change]:
    """Files that differ from what they shall be, in text or mode."""
    changes = []
    for file in files:
        try:
            before: str | None = file.path.read_bytes().decode("utf-8", "replace")
            mode: int | None = stat.S_IMODE(file.path.stat().st_mode)
        except FileNotFoundError:
            before = mode = None
        if before != file.content or (file.content is not None and mode != file.mode):
            changes.append(Change(file, before, mode))
    return changes


def write(path: Path, data: bytes, mode: int = MODE) -> None:
    """Write one file by rename: never half of it, and its directory is made when missing."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def apply(changes: list[Change]) -> None:
    """Write or remove."""
    for change in changes:
        file = change.file
        if file.content is None:
            file.path.unlink()
            continue
        write(file.path, file.content.encode(), file.mode)
