"""Debian's real rocBLAS build, cut into AMD's package (without gfx906) and Arch's (everything)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.console import run
from lab.settings import LabError

FOLDER = re.compile(r"^\./usr/lib/x86_64-linux-gnu/rocblas/[^/]+/library/[^/]+$")
DEPTH = 7  # path components of the folder, the leading "." included
GFX = re.compile(r"gfx[0-9a-f]+")
# Catalogs without an architecture plus one architecture AMD ships: enough for every check of a library folder.
SUBSET = frozenset({"gfx908"})


def _pipe(deb: Path, consumer: Sequence[str]) -> str:
    """Feed the package's file tree, as a tar stream, to a command."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as producer:
        out = run(consumer, stdin=producer.stdout).stdout
    if producer.returncode != 0:
        raise LabError(f"{deb} cannot be unpacked; remove it from the cache")
    return out


def members(deb: Path) -> list[str]:
    """Members of the package that are rocBLAS library files, as tar names."""
    return [name for name in _pipe(deb, ["tar", "-t"]).splitlines() if FOLDER.match(name)]


def architecture(name: str) -> str:
    """`gfx906` for a file of that architecture, empty for catalogs that all of them share."""
    found = GFX.search(name.rsplit("/", 1)[-1])
    return found.group() if found else ""


def gfx906(names: Sequence[str]) -> list[str]:
    """The gfx906 members."""
    return [name for name in names if architecture(name) == "gfx906"]


def amd(names: Sequence[str], *, everything: bool, with_gfx906: bool) -> list[str]:
    """The members AMD's package holds in the lab: never gfx906, unless the release still had it."""
    keep = []
    for name in names:
        arch = architecture(name)
        if arch == "gfx906":
            if with_gfx906:
                keep.append(name)
        elif not arch or everything or arch in SUBSET:
            keep.append(name)
    return keep


def unpack(deb: Path, names: Sequence[str], library: Path) -> None:
    """Unpack the named members flat into a library folder."""
    library.mkdir(parents=True)
    listing = library.parent / ".members"
    listing.write_text("".join(f"{name}\n" for name in names))
    _pipe(deb, ["tar", "-x", "-C", str(library), f"--strip-components={DEPTH}", "--no-same-owner", "-T", str(listing)])
    listing.unlink()


def unpack_all(deb: Path, folder: Path) -> None:
    """Unpack the whole package (4.1 GB) as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    _pipe(deb, ["tar", "-x", "-C", str(folder), "--no-same-owner"])
