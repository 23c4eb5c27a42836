"""A set of small configuration files, compared and written in one go."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class File:
    """What one file shall be: its path, its whole text (None: no file) and its mode."""

    path: Path
    content: str | None
    mode: int = 0o644


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


def apply(changes: list[Change]) -> None:
    """Write (each by rename, never half a file) or remove."""
    for change in changes:
        file = change.file
        if file.content is None:
            file.path.unlink()
            continue
        file.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.path.parent, prefix=f".{file.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(file.content)
            Path(temporary).chmod(file.mode)
            Path(temporary).replace(file.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
