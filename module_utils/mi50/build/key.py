"""The key of a build: what a binary depends on, as named parts, and one digest over them.

Two hosts with the same parts can use each other's build; that is the whole meaning of the key.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

# A change of how builds are made that makes earlier ones wrong: add one.
FORMAT = "1"
LENGTH = 32  # hexadecimal digits: 128 bits
# Parts that describe the host, in the order in which they are worth naming.
HOST_PARTS = ("os", "glibc", "python", "machine")

Parts = dict[str, str]
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


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
        f"{name} {_apart(wanted.get(name, ''), there.get(name, ''))}"
        for name in dict.fromkeys(names)
        if wanted.get(name) != there.get(name)
    ]


def _apart(wanted: str, there: str) -> str:
    """How two values differ; of lists of words only the words that do."""
    has, lacks = set(there.split()) - set(wanted.split()), set(wanted.split()) - set(there.split())
    if not has or not lacks:
        return " ".join(
            [*(f"with {_short(word)}" for word in sorted(has)), *(f"without {_short(word)}" for word in sorted(lacks))]
        )
    return f"{', '.join(map(_short, sorted(has)))} instead of {', '.join(map(_short, sorted(lacks)))}"


def lineage(of: Mapping[str, str]) -> str:
    """Return what stays the same from one version to the next: builds of one lineage replace each other."""
    return " ".join(of.get(name, "") for name in HOST_PARTS)


def _short(value: str) -> str:
    if _COMMIT.match(value):
        return value[:12]
    return value if len(value) <= 60 else value[:57] + "..."
