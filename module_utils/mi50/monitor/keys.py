"""The engines' keys as they come to the monitoring host: sealed by their nodes (mi50.seal), opened here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import seal

# What stands in a plan for a key that nobody could seal yet; it is written nowhere.
UNREAD = "(in check mode nothing was sealed)"


def opened(
    names: Sequence[str], sealed: Mapping[str, str], pair: Path, run: seal.Runner, *, check: bool
) -> dict[str, str | None]:
    """Return key by name; None is to stay as it is. In check mode without a pair, keys are taken for granted.

    Raises seal.SealError, OSError.
    """
    if check and not pair.exists():
        return dict.fromkeys(names, UNREAD)
    return {name: seal.unseal(sealed[name], pair, run) if name in sealed else None for name in names}
