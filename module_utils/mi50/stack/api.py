"""The one call the lookup and the preflight make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .load import Stack, load_stack
from .lock import merge_lock, read_lock, unlocked
from .resolve import resolve


def default_stacks_dir() -> Path:
    """Return `stacks/` of the checkout this file belongs to."""
    return Path(__file__).resolve().parents[3] / "stacks"


def get_stack(name: str, stacks_dir: Path, lock_file: Path | None, overrides: dict[str, Any]) -> Stack:
    """Return the stack `name`: valid, locked, addresses resolved, with `unlocked` (names) and `lock_file`.

    `lock_file` None means `<stacks_dir>/<name>.lock.yml`. Raises StackError.
    """
    stack = load_stack(name, stacks_dir)
    lock_path = lock_file or stacks_dir / f"{name}.lock.yml"
    merge_lock(stack, read_lock(lock_path, name), lock_path)
    resolve(stack, overrides)
    stack["unlocked"] = unlocked(stack)
    stack["lock_file"] = str(lock_path)
    return stack
