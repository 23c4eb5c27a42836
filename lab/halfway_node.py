"""The part of lab/halfway.py that runs on the node: it is sent there as text, so it imports nothing of the lab.

Halfway is what dpkg's own files say, not a time: of the packages of the transaction that apt has begun some are done,
others are as they were, and dpkg's journal is open. dpkg is let run for a moment, stopped, looked at, and so on: what
is found holds, because nothing moves any more, on an idle machine as on a busy one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# Of the packages of a transaction, what has to be done; and left.
SHARE = 0.3
# Seconds that dpkg runs between two looks, between two looks for a transaction, and until there has to be one.
SLICE, PAUSE, PATIENCE = 0.005, 0.03, 900.0
HISTORY, STATUS, UPDATES = "var/log/apt/history.log", "var/lib/dpkg/status", "var/lib/dpkg/updates"
_ONE = re.compile(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)? \(([^)]*)\)")
_CHANGES = ("Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge")
_THERE = {"unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"}
_UNTOUCHED = {"installed", "config-files", "not-installed"}


# Names of a transaction's packages by `done`, `left` and `between`.
Found = dict[str, list[str]]


def under_way(history: str, since: float, about: str) -> dict[str, str | None]:
    """Return name to version (None: it goes) of apt's last transaction when it is about a package and has no end.

    apt writes it down before dpkg starts, and its end afterwards (apt 2.6, apt-pkg/deb/dpkgpm.cc), in whole seconds.
    """
    block = re.split(r"\n\s*\n", history.rstrip())[-1]
    fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
    try:
        begun = time.mktime(time.strptime(" ".join(fields["Start-Date"].split()), "%Y-%m-%d %H:%M:%S"))
    except (KeyError, ValueError):
        return {}
    wanted = {
        name: None if kind in ("Remove", "Purge") else _new(kind, said.split(", "))
        for kind in _CHANGES
        for name, said in _ONE.findall(fields.get(kind, ""))
    }
    return wanted if begun >= int(since) and "End-Date" not in fields and about in wanted else {}


def _new(kind: str, said: list[str]) -> str:
    """The version that comes: `(new, automatic)`, `(old, new)`."""
    return said[1] if kind in ("Upgrade", "Downgrade") else said[0]


def states(root: Path) -> dict[str, tuple[str, str]]:
    """Name to state and version: dpkg's status file and after it the journal of what it does just now."""
    found = {}
    for path in (root / STATUS, *journal(root)):
        for stanza in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in stanza.splitlines() if line.startswith(("Pack", "Stat", "Vers"))
            )
            if "Package" in fields:
                state = fields.get("Status", "").split()[-1:]
                found[fields["Package"]] = (state[0] if state else "not-installed", fields.get("Version", ""))
    return found


def journal(root: Path) -> list[Path]:
    """The journal's files, in order."""
    return sorted(path for path in (root / UPDATES).iterdir() if path.name.isdigit())


def progress(wanted: Mapping[str, str | None], now: Mapping[str, tuple[str, str]]) -> Found:
    """How far a transaction is; `between` are packages in the middle of their own change."""
    found: Found = {"done": [], "left": [], "between": []}
    for name, version in wanted.items():
        state, has = now.get(name, ("not-installed", ""))
        if version is None:
            kind = "left" if state == "installed" else "done" if state in _UNTOUCHED else "between"
        else:
            kind = "done" if state in _THERE and has == version else "left" if state in _UNTOUCHED else "between"
        found[kind].append(name)
    return found


def halfway(found: Found) -> bool:
    """Whether enough is done and enough is left."""
    return min(len(found["done"]), len(found["left"])) >= SHARE * sum(len(names) for names in found.values())


def _workers() -> Iterator[int]:
    """The dpkg that apt has started, if it works just now."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text() == "dpkg\n" and b"--status-fd" in (folder / "cmdline").read_bytes():
                yield int(folder.name)


def _stop(pid: int) -> bool:
    """Stop a process and be sure of it; false when it has ended."""
    try:
        os.kill(pid, signal.SIGSTOP)
        while True:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state in "TZ":
                return state == "T"
            time.sleep(0.0005)
    except (ProcessLookupError, FileNotFoundError):
        return False


def look(root: Path, wanted: Mapping[str, str | None]) -> Found | None:
    """One look: what was found when that is the middle, and dpkg stands still then; None otherwise."""
    for pid in _workers():
        if not _stop(pid):
            continue
        found = progress(wanted, states(root))
        if halfway(found) and journal(root):
            return found
        os.kill(pid, signal.SIGCONT)
    return None


def main(about: str, root: Path = Path("/")) -> str | None:
    """Look until the middle is found, nobody listens any more, or PATIENCE is over; return what went wrong."""
    begun = time.time()
    while time.time() - begun < PATIENCE:
        wanted = under_way((root / HISTORY).read_text(encoding="utf-8", errors="replace"), begun, about)
        found = look(root, wanted) if wanted else None
        if found:
            print(json.dumps(found))
            return None
        if select.select([0], [], [], SLICE if wanted else PAUSE)[0]:
            return f"no transaction about {about} was seen in its middle"
    return f"no transaction about {about} within {PATIENCE:.0f} s"


if __name__ == "__main__":
    wrong = main(sys.argv[1])
    if wrong:
        print(wrong)
        sys.exit(1)
