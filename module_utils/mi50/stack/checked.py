"""Remember which stack files the schema has passed, by content.

A play looks its stack up in every worker process; checking the same bytes each time would cost each node of a
rack a tenth of a second of the controller's time for every task that does. Only the verdict is remembered, never data.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# The rules that are not in the schema; with another text of theirs nothing counts as checked.
RULES = Path(__file__).with_name("load.py")


def cache_dir() -> Path:
    """Return the folder of the verdicts, the user's own."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mi50-aipc" / "checked-stacks"


class Checked:
    """The verdict on one stack file under one schema."""

    def __init__(self, stack: Path, schema: Path) -> None:
        """Read what the verdict depends on."""
        self._mark: Path | None = None
        try:
            content = [stack.name.encode(), *(path.read_bytes() for path in (stack, schema, RULES))]
        except OSError:  # inside a module's archive the rules are no file of their own: nothing is remembered
            return
        self._mark = cache_dir() / hashlib.sha256(b"\0".join(content)).hexdigest()

    def before(self) -> bool:
        """Tell whether these very bytes were found valid before."""
        return self._mark is not None and self._mark.is_file()

    def remember(self) -> None:
        """Record that they are valid; where that is not possible they are simply checked again."""
        if self._mark is None:
            return
        try:
            self._mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark.touch(mode=0o600)
        except OSError:
            return
