"""Packages that others need and that are not there: somebody forced them off, and apt refuses to work from then on.

From deb-control(5): Depends and Pre-Depends are lists of alternatives; a virtual package is there when one that
Provides it is. Of versions only `=` is compared: that is how ROCm's packages hold together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

STATUS = "var/lib/dpkg/status"
_FIELDS = ("Package", "Status", "Version", "Depends", "Pre-Depends", "Provides")
_ONE = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(=|<<|<=|>=|>>)\s*([^)]+?)\s*\))?")


def unmet(root: Path) -> list[str] | None:
    """Return `package needs what` for every need that nothing meets; None on a machine without dpkg."""
    try:
        rows = [fields for fields in _stanzas(root / STATUS) if fields.get("Status", "").endswith(" ok installed")]
    except OSError:
        return None
    versions: dict[str, set[str]] = {}
    provided: dict[str, set[str]] = {}
    for fields in rows:
        versions.setdefault(fields["Package"], set()).add(fields.get("Version", ""))
        for name, _relation, version in _alternatives(fields.get("Provides", "").replace(",", "|")):
            provided.setdefault(name, set()).add(version)
    return [f"{fields['Package']} needs {need}" for fields in rows for need in _needs(fields, versions, provided)]


def _needs(
    fields: Mapping[str, str], versions: Mapping[str, set[str]], provided: Mapping[str, set[str]]
) -> Iterator[str]:
    for kind in ("Pre-Depends", "Depends"):
        for need in filter(None, (part.strip() for part in fields.get(kind, "").split(","))):
            if not any(
                (name in versions or name in provided)
                and (relation != "=" or version in versions.get(name, set()) | provided.get(name, set()))
                for name, relation, version in _alternatives(need)
            ):
                yield need


def _alternatives(text: str) -> Iterator[tuple[str, str, str]]:
    for part in text.split("|"):
        match = _ONE.match(part.strip())
        if match:
            yield match[1], match[2] or "", match[3] or ""


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    current: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "\n":
                if "Package" in current:
                    yield current
                current = {}
                continue
            name, colon, value = line.partition(":")
            if colon and name in _FIELDS:
                current[name] = value.strip()
    if "Package" in current:
        yield current
