"""What a node has that roles may add to: packages, their marks, users, groups, folders. Reads files alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STATUS = "var/lib/dpkg/status"
MARKS = "var/lib/apt/extended_states"
# dpkg removes a folder that one of its packages shipped once it is empty, also one that was there before (/opt);
# and folders that a role or Ansible makes outlive what was in them. The deepest first.
FOLDERS = (
    "/var/lib/mi50-aipc/serve",
    "/var/lib/mi50-aipc",
    "/var/cache/mi50-aipc",
    "/usr/local/lib/mi50-aipc",
    "/usr/local/share/mi50-aipc",
    "/opt/mi50-aipc",
    "/opt",
    "/etc/mi50-aipc",
    "/etc/apt/keyrings",
    "/etc/apt/preferences.d",
    "/etc/ld.so.conf.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/docker",
    str(Path("~root").expanduser() / ".ansible_async"),
)


def look(root: Path = Path("/")) -> dict[str, Any]:
    """Return the state that is kept in the record; JSON as it is.

    `packages` is name to version of those that are wholly installed (name:arch for foreign architectures), `auto` names
    that nobody asked for by name, `members` the users of each group, `folders` whether each of FOLDERS is there.
    Raises OSError on a machine without dpkg.
    """
    packages = {name: fields["Version"] for name, fields in installed(root).items()}
    groups = {row[0]: row for row in _rows(root / "etc/group", 4)}
    return {
        "packages": packages,
        "auto": sorted(name for name in _automatic(root) if name in packages),
        "groups": {name: int(row[2]) for name, row in groups.items()},
        "members": {name: [one for one in row[3].split(",") if one] for name, row in groups.items() if row[3]},
        "users": {row[0]: [int(row[2]), int(row[3])] for row in _rows(root / "etc/passwd", 7)},
        "folders": {path: (root / path[1:]).is_dir() for path in FOLDERS},
    }


def installed(root: Path) -> dict[str, dict[str, str]]:
    """Return Version and Recommends of every package that is wholly installed. Raises OSError."""
    found: dict[str, dict[str, str]] = {}
    native = ""
    rows = []
    for fields in _stanzas(root / STATUS, ("Package", "Status", "Version", "Architecture", "Recommends")):
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            rows.append(fields)
            # dpkg itself is of the machine's own architecture.
            native = fields.get("Architecture", "") if fields["Package"] == "dpkg" else native
    for fields in rows:
        arch = fields.get("Architecture", native)
        name = fields["Package"] if arch in (native, "all", "") or not native else f"{fields['Package']}:{arch}"
        found[name] = {"Version": fields.get("Version", ""), "Recommends": fields.get("Recommends", "")}
    return found


def _automatic(root: Path) -> Iterator[str]:
    try:
        for fields in _stanzas(root / MARKS, ("Package", "Auto-Installed")):
            if fields.get("Auto-Installed") == "1":
                yield fields.get("Package", "")
    except FileNotFoundError:  # apt never installed anything
        return


def _stanzas(path: Path, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    current: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "\n":
                if current:
                    yield current
                current = {}
                continue
            name, colon, value = line.partition(":")
            if colon and name in names:
                current[name] = value.strip()
    if current:
        yield current


def _rows(path: Path, fields: int) -> Iterator[list[str]]:
    """Rows of an account file that are whole; `+::::` of NIS and half-written ones are none of ours."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        row = line.split(":")
        if len(row) == fields and row[2].isdigit():
            yield row


def empty(path: Path) -> bool:
    """Whether it is a folder with nothing inside."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:
        return False
