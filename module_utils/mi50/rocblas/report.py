"""The module's result and its diff: what changes, with sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from . import names
from .request import Request


class Change(NamedTuple):
    """File names by what happens to them."""

    added: list[str] = []
    replaced: list[str] = []
    removed: list[str] = []
    unchanged: list[str] = []

    @property
    def moved(self) -> bool:
        """True when any file changes."""
        return bool(self.added or self.replaced or self.removed)


def result(
    library: Path,
    source: dict[str, Any],
    change: Change,
    before: dict[str, int],
    after: dict[str, int],
    *,
    drift: dict[str, list[str]] | None = None,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    """Build the result; `before` and `after` give sizes in bytes of the files that change."""
    public = {key: source.get(key) for key in ("kind", "name", "version", "sha256", "signed_by")} if source else {}
    written = [*change.added, *change.replaced]
    return {
        "changed": change.moved,
        "needs_source": False,
        "library_dir": str(library),
        "source": public,
        "files": change._asdict(),
        "bytes_written": sum(after[name] for name in written),
        "manifest": str(library / names.MANIFEST),
        "drift": {kind: found for kind, found in (drift or {}).items() if found},
        "diff": {
            "before_header": f"{library} (before)",
            "after_header": f"{library} (after)",
            "before": _listing(before, [*change.replaced, *change.removed]),
            "after": _listing(after, written),
        },
        "warnings": warnings or [],
    }


def deferred(library: Path, request: Request, drift: dict[str, list[str]]) -> dict[str, Any]:
    """Nothing was done: the source has to be read for `library`. That is a change to come, so check mode says so."""
    outcome = result(library, {}, Change(), {}, {}, drift=drift)
    origin = request.source_id or request.src or "the source"
    outcome.update(changed=request.check_mode, needs_source=True)
    if request.check_mode:
        outcome["diff"]["after"] = f"{request.gpu_arch} kernels of {origin}\n"
    return outcome


def _listing(sizes: dict[str, int], listing: list[str]) -> str:
    return "".join(f"{name} {sizes[name]} bytes\n" for name in sorted(listing))
