"""A node's apt, pointed at a mirror for the distribution's own packages, and back.

The mirror serves the distribution's own indexes, so that the distribution's own keyring goes on to decide. Sources that
lead elsewhere are put aside under a name that apt ignores, and come back untouched.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..config_files import write
from ..fetch.download import proxy_for
from ..fetch.errors import explain
from .distribution import platform
from .errors import MirrorError

SOURCE = "etc/apt/sources.list.d/mi50-mirror.sources"
ASIDE = ".mi50.disabled"  # apt.conf(5), Dir::Ignore-Files-Silently
_OURS = "mi50-"
_URI = re.compile(r"^\s*(?:URIs:|deb(?:-src)?\s+(?:\[[^\]]*\])?)\s*(\S+(?:\s+https?://\S+)*)", re.MULTILINE)
_LIMIT = 1 << 20
_SECONDS = 30.0


class Plan(NamedTuple):
    """What is to be done: text of the source (None: no such file), files to put aside, files to bring back."""

    text: str | None
    before: str | None
    aside: list[Path]
    back: list[Path]

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self.text != self.before or bool(self.aside) or bool(self.back)


def plan(base: str, root: Path) -> Plan:
    """Look at the node below `root`; an empty base gives its own sources back. Raises MirrorError."""
    source = root / SOURCE
    before = source.read_text(encoding="utf-8") if source.is_file() else None
    saved = sorted((root / "etc/apt").glob(f"sources.list*{ASIDE}")) + sorted(
        (root / "etc/apt/sources.list.d").glob(f"*{ASIDE}")
    )
    if not base:
        return Plan(None, before, [], saved)
    text = _text(base.rstrip("/"), platform(root), root)
    return Plan(text, before, [path for path in _others(root) if _leads_away(path)], [])


def apply(todo: Plan, root: Path) -> None:
    """Do it: the new source is there before another goes. Raises MirrorError."""
    source = root / SOURCE
    try:
        if todo.text is not None:
            write(source, todo.text.encode())
        for path in todo.aside:
            path.replace(path.with_name(path.name + ASIDE))
        for path in todo.back:
            path.replace(path.with_name(path.name[: -len(ASIDE)]))
        if todo.text is None and source.exists():
            source.unlink()
    except OSError as error:
        raise MirrorError(f"{error.filename}: cannot be changed: {error.strerror}.") from None


def _others(root: Path) -> list[Path]:
    folder = root / "etc/apt/sources.list.d"
    files = [root / "etc/apt/sources.list", *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return [path for path in files if path.is_file() and not path.name.startswith(_OURS)]


def _leads_away(path: Path) -> bool:
    """Whether a file names a repository that has to be reached over a network."""
    text = "\n".join(
        line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line[:1] != "#"
    )
    return any(urlsplit(uri).scheme in ("http", "https") for uris in _URI.findall(text) for uri in uris.split())


def _text(base: str, here: str, root: Path) -> str:
    """The deb822 source of every repository that the mirror has for this platform."""
    stanzas = []
    for one in _offered(base, here):
        keyring = str(one["keyring"])
        if not (root / keyring.lstrip("/")).is_file():
            raise MirrorError(f"{keyring}: the distribution's keyring is not on this node; install its package first.")
        lines = {
            "Types": "deb",
            "URIs": f"{base}/{one['path']}",
            "Suites": one["suite"],
            "Components": " ".join(one["components"]),
            "Signed-By": keyring,
            # Package lists are all that is mirrored; apt fails for what a signed index names and a folder lacks.
            "Languages": "none",
            "Targets": "Packages",
            # A mirror without a network cannot renew what its distribution signs for a week.
            "Check-Valid-Until": "no",
        }
        stanzas.append("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return "# Written by the role artifact_mirror of mi50-aipc.\n" + "\n".join(stanzas)


def _offered(base: str, here: str) -> list[dict[str, Any]]:
    url = f"{base}/os/{here}.json"
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise MirrorError(f"artifact_mirror_client_base: {base!r} is no address of a mirror (http://HOST:PORT).")
    try:
        with urllib.request.build_opener().open(url, timeout=_SECONDS) as answer:
            data: list[dict[str, Any]] = json.loads(answer.read(_LIMIT))
            return [
                {key: one[key] for key in ("path", "suite", "components", "keyring")}
                for one in data
                if re.fullmatch(r"[\w./+-]+", one["path"] + one["suite"] + "".join(one["components"]) + one["keyring"])
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(explain(url, error, proxy_for(url))) if isinstance(error, OSError) else f"{url}: {error!r}"
        raise MirrorError(
            f"{why} The mirror has no packages of {here}: fill it on a host that runs the same release, or give "
            "artifact_mirror_distributions."
        ) from None
