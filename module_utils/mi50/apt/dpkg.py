"""dpkg's status file and apt's package lists, read without python-apt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STATUS = "var/lib/dpkg/status"
UPDATES = "var/lib/dpkg/updates"


@dataclass(frozen=True)
class Package:
    """One entry of dpkg's status file. `state` is the third word: installed, half-configured, config-files …"""

    name: str
    version: str
    state: str
    want: str
    error: bool


def _stanzas(path: Path, fields: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The named single-line fields of every stanza."""
    current: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "\n":
                if current:
                    yield current
                current = {}
            elif line.startswith(fields):
                name, _colon, value = line.partition(":")
                current[name] = value.strip()
    if current:
        yield current


def read_status(root: Path) -> dict[str, Package]:
    """Every package dpkg knows, by name. Raises OSError when the machine has no dpkg."""
    found = {}
    for stanza in _stanzas(root / STATUS, ("Package:", "Status:", "Version:")):
        want, flag, state = [*stanza.get("Status", "").split(), "unknown", "ok", "not-installed"][:3]
        if "Package" in stanza:
            found[stanza["Package"]] = Package(stanza["Package"], stanza.get("Version", ""), state, want, flag != "ok")
    return found


def audit(packages: dict[str, Package], root: Path) -> list[str]:
    """Packages that are neither wholly installed nor wholly gone, as `name state`; an interrupted dpkg run too."""
    whole = {"installed", "config-files", "not-installed", "triggers-pending", "triggers-awaited"}
    found = sorted(f"{item.name} {item.state}" for item in packages.values() if item.state not in whole or item.error)
    pending = root / UPDATES
    if pending.is_dir() and any(pending.iterdir()):
        found.append("dpkg was interrupted")
    return found


# What apt refuses to work with. A package that waits for triggers is finished by the next dpkg that runs, by whomever.
_UNFINISHED = {"half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}


def unfinished(root: Path) -> tuple[dict[str, str], bool]:
    """Return packages that are not whole with their state, and whether dpkg was interrupted in the middle.

    dpkg writes each step into a file of its own below updates/ first, and all of them into the status file at its end
    (dpkg 1.21, lib/dpkg/dbmodify.c): after an interruption both together say how things stand.
    """
    broken: dict[str, str] = {}
    try:
        updates = sorted(path for path in (root / UPDATES).iterdir() if path.name.isdigit())
    except OSError:
        updates = []
    for path in (root / STATUS, *updates):
        for name, flag, state in _states(path):
            broken.pop(name, None)
            if state in _UNFINISHED or flag == "reinstreq":
                broken[name] = state
    return broken, bool(updates)


def _states(path: Path) -> Iterator[tuple[str, str, str]]:
    """Package, flag and state of each stanza; none of a file that cannot be read."""
    package = ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        if line.startswith("Package: "):
            package = line[len("Package: ") :]
        elif line.startswith("Status: "):
            _want, flag, state = [*line.split()[1:], "", "", ""][:3]
            yield package, flag, state


def offered(lists: Path, prefix: str) -> dict[str, set[str]]:
    """Name to versions, from the uncompressed package lists whose file names start with `prefix`."""
    found: dict[str, set[str]] = {}
    for path in sorted(lists.glob(f"{prefix}*_Packages")):
        for stanza in _stanzas(path, ("Package:", "Version:")):
            found.setdefault(stanza.get("Package", ""), set()).add(stanza.get("Version", ""))
    return found


def foreign(packages: dict[str, Package], versions: dict[str, set[str]], build: str) -> list[str]:
    """Installed packages that the repository offers in `build`, but that were taken from elsewhere: `name=version`.

    A distribution's own rocminfo may have a higher version than AMD's; apt would keep it and then fail on the
    dependencies, so these are named for installation too. With the whole version: apt's pins ignore a pattern that
    begins with a star, and without an effective pin apt does not go back to a lower version.
    """
    found = []
    for name, known in sorted(versions.items()):
        ours = sorted(version for version in known if is_build(version, build))
        if ours and name in packages and packages[name].state == "installed" and packages[name].version not in known:
            found.append(f"{name}={ours[-1]}")
    return found


def is_build(version: str, build: str) -> bool:
    """Whether an apt version belongs to a ROCm build: `.60403-` within 6.4.3.60403-128~24.04."""
    return f".{build}-" in version
