"""Whether apt was cut off in the middle of a run of ours: by a lost connection, a power failure, a full disk.

apt writes a transaction into its history before dpkg starts and the end of it afterwards, with an error when dpkg had
one (apt 2.6, apt-pkg/deb/dpkgpm.cc, pkgDPkgPM::OpenLog and CloseLog): one without an end was cut off. Times are seconds
since 1970.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HISTORY = "var/log/apt/history.log"
# apt takes any setting and writes it down with the command: what this project starts itself is known by this one.
MARK = "MI50::Run=1"
# What ansible.builtin.apt gives apt-get unless it is told otherwise (its option dpkg_options).
_ANSIBLE = ("Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold")
_CHANGES = ("Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge")
# `rocblas:amd64 (4.4.1, 4.3.0)`, `libnew:amd64 (1, automatic)`
_ONE = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)? \(([^)]*)\)")
_FROM_TO = ("Upgrade", "Downgrade")
_GOES = ("Remove", "Purge")
# What they build fails again and again on a kernel that does not fit; only cut off they are worth another try.
_BUILT_HERE = {"amdgpu-dkms", "amdgpu-dkms-firmware"}
_TRIGGERS = {"triggers-awaited", "triggers-pending"}


class Cut(NamedTuple):
    """A transaction that was cut off, and every package that the run's transactions were about.

    `versions`: what they were to bring, of those that shall not go.
    """

    command: str
    begun: float
    packages: frozenset[str]
    versions: Mapping[str, str]

    def describe(self) -> str:
        """Return it for people."""
        words = self.command.split()
        asked = [word for word in words[1:] if not word.startswith("-") and "::" not in word]
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.begun))
        return f"apt-get {' '.join(asked[:3])}{' …' if len(asked) > 3 else ''} of {when}"


class _Transaction(NamedTuple):
    begun: float
    command: str
    versions: Mapping[str, str | None]  # None: it goes
    ended: bool
    failed: bool


def find(root: Path, since: float | None, broken: Mapping[str, str]) -> Cut | None:
    """Return what was cut off when that is a run of ours, None when it is not, or nobody can tell.

    `since`: when the last run of ours began that has not ended. `broken`: packages that are not whole with their state;
    one that none of the run's transactions was about is somebody else's. Triggers are everybody's.
    """
    if since is None:
        return None
    seen = [one for one in _transactions(root) if one.begun >= since - 1]  # the history has whole seconds
    if not seen or not _ours(seen[-1].command) or (seen[-1].ended and not seen[-1].failed):
        return None
    if seen[-1].ended and _BUILT_HERE & set(broken):
        return None
    wanted = {name: version for one in seen if _ours(one.command) for name, version in one.versions.items()}
    packages = frozenset(wanted)
    foreign = {name for name, state in broken.items() if state not in _TRIGGERS} - packages
    if foreign:
        return None
    comes = {name: version for name, version in wanted.items() if version is not None}
    return Cut(seen[-1].command, seen[-1].begun, packages, comes)


def _ours(command: str) -> bool:
    return MARK in command or all(word in command for word in _ANSIBLE)


def _transactions(root: Path) -> Iterator[_Transaction]:
    try:
        text = (root / HISTORY).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for block in re.split(r"\n\s*\n", text):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        begun = _seconds(fields.get("Start-Date", ""))
        if begun is not None:
            yield _Transaction(
                begun,
                fields.get("Commandline", ""),
                {
                    name: None if kind in _GOES else said.split(", ")[1 if kind in _FROM_TO and ", " in said else 0]
                    for kind in _CHANGES
                    for name, said in _ONE.findall(fields.get(kind, ""))
                },
                "End-Date" in fields,
                "Error" in fields,
            )


def _seconds(text: str) -> float | None:
    """apt writes the machine's local time, the date and the time two spaces apart."""
    try:
        return time.mktime(time.strptime(" ".join(text.split()), "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None
