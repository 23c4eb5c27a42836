"""What is installed in a site-packages folder, read from the names and RECORD files of its .dist-info folders."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .model import FAMILY, TOOLS, TRITONS, canonical

# Written by whoever installs, not part of what the wheel brought.
_INSTALLERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def installed(site: Path) -> dict[str, Path]:
    """Return the .dist-info folder of each distribution by its canonical name."""
    found = {}
    with os.scandir(site) as entries:
        for entry in entries:
            # pip renames what it is about to remove to `~orch`: leftovers of a pip that was killed.
            if entry.name.endswith(".dist-info") and not entry.name.startswith("~"):
                found[canonical(entry.name[: -len(".dist-info")].rpartition("-")[0])] = Path(entry.path)
    return found


def version(info: Path) -> str:
    """The version in the name of a .dist-info folder."""
    return info.name[: -len(".dist-info")].rpartition("-")[2]


def versions(found: Mapping[str, Path]) -> dict[str, str]:
    """Name to version."""
    return {name: version(info) for name, info in sorted(found.items())}


def others(found: Mapping[str, Path]) -> dict[str, str]:
    """Distributions that are neither torch's family nor triton nor pip's: dependencies, and what the user added."""
    known = {*FAMILY, *TRITONS, *TOOLS}
    return {name: number for name, number in versions(found).items() if name not in known}


def rows(info: Path) -> list[list[str]]:
    """The rows of a RECORD: path below site-packages, hash, size; none when it is missing."""
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as stream:
            return [row for row in csv.reader(stream) if len(row) == 3]
    except OSError:
        return []


def content(info: Path) -> str:
    """Digest over what the wheel brought: the same for every installation of one wheel, empty without a RECORD."""
    mine = {f"{info.name}/{name}" for name in _INSTALLERS}
    # Scripts name their interpreter, so theirs differ from venv to venv.
    kept = sorted(row for row in rows(info) if row[1] and row[0] not in mine and not row[0].startswith("../"))
    return hashlib.sha256(repr(kept).encode()).hexdigest() if kept else ""


def stat_of(path: Path) -> list[int] | None:
    """Size and time in ns; None for nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def watched(site: Path, found: Mapping[str, Path]) -> dict[str, list[int] | None]:
    """The files whose size and time tell whether torch and triton are what was installed: RECORDs and libraries.

    Every installation writes a RECORD anew; torch/lib holds what a careless hand replaces.
    """
    paths = [info / "RECORD" for name, info in found.items() if name in {*FAMILY, *TRITONS}]
    paths += [path for path in (site / "torch/lib").glob("*.so*") if path.is_file()]
    paths += [site / "torch/__init__.py", site / "torch/version.py"]
    return {str(path.relative_to(site)): stat_of(path) for path in sorted(paths)}


def damaged(site: Path, infos: Iterable[Path]) -> list[str]:
    """Files that are missing or differ from their RECORD; reads all of them (10 GB for torch)."""
    found = []
    for info in infos:
        for name, digest, dummy in rows(info):
            if digest.startswith("sha256=") and not name.startswith("../"):
                problem = _differs(site / name, digest)
                found += [f"{name}: {problem}"] if problem else []
    return found


def _differs(path: Path, digest: str) -> str:
    import base64  # noqa: PLC0415 - the look of every run does not come here

    value = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                value.update(piece)
    except OSError as error:
        return error.strerror or "cannot be read"
    mine = base64.urlsafe_b64encode(value.digest()).rstrip(b"=").decode()
    return "" if digest == f"sha256={mine}" else "was changed"


def summary(site: Path) -> dict[str, Any]:
    """What the record keeps of a finished site-packages folder."""
    found = installed(site)
    family = {name: info for name, info in found.items() if name in {*FAMILY, *TRITONS}}
    return {
        "family": versions(family),
        "content": {name: content(info) for name, info in sorted(family.items())},
        "watched": watched(site, found),
        "others": others(found),
    }
