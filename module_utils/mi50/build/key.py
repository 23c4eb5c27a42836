"""The key of a build: what a binary depends on, as named parts, and one digest over them.

Two hosts with the same parts can use each other's build; that is the whole meaning of the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

# A change of how builds are made that makes earlier ones wrong: add one.
FORMAT = "1"
LENGTH = 32  # hexadecimal digits: 128 bits
# Parts that describe the host, in the order in which they are worth naming.
HOST_PARTS = ("os", "glibc", "python", "machine")

Parts = dict[str, str]


def parts(recipe: Mapping[str, str], host: Mapping[str, str]) -> Parts:
    """Return all parts: the recipe's own and those of the host that matter."""
    return {"format": FORMAT, **recipe, **{name: host[name] for name in HOST_PARTS}}


def digest(of: Mapping[str, str]) -> str:
    """Return the key of these parts."""
    text = json.dumps(dict(of), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def differences(wanted: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return what keeps a build that is there from being the wanted one: `glibc 2.36 instead of 2.39`."""
    names = [*HOST_PARTS, *sorted(set(wanted) | set(there))]
    return [
        f"{name} {_short(there.get(name))} instead of {_short(wanted.get(name))}"
        for name in dict.fromkeys(names)
        if wanted.get(name) != there.get(name)
    ]


def lineage(of: Mapping[str, str]) -> str:
    """Return what stays the same from one version to the next: builds of one lineage replace each other."""
    return " ".join(of.get(name, "") for name in HOST_PARTS)


def _short(value: str | None) -> str:
    text = value or "none"
    return text if len(text) <= 40 else text[:37] + "..."
