"""The engines' keys as they come to the monitoring host: sealed by their nodes (mi50.seal), opened here alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .. import seal

# What stands in a plan for a key that was not sealed yet; it is written nowhere.
UNREAD = "(not sealed yet)"


def opened(
    names: Sequence[str], sealed: Mapping[str, str], pair: Path, run: seal.Runner, promised: Collection[str] = ()
) -> dict[str, str | None]:
    """Return key by name; None is to stay as it is. Of those `promised`, a plan takes for granted what is not sealed.

    Raises seal.SealError, OSError.
    """
    found: dict[str, str | None] = {name: UNREAD if name in promised else None for name in names}
    return {**found, **{name: seal.unseal(text, pair, run) for name, text in sealed.items() if name in found}}
