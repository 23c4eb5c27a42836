"""Kernels in releases of ROCm whose packages are gone: dpkg leaves folders that hold files it does not know."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from . import names

_LIBRARY = "lib/rocblas/library"
_PACKAGED = ".info/version"  # of rocm-core, which every release has


def find(patterns: Iterable[str], root: Path = Path("/")) -> list[str]:
    """Return the prefixes among `patterns` (globs such as /opt/rocm-*) that hold our kernels and no release."""
    found = []
    for pattern in patterns:
        for prefix in sorted(root.glob(pattern.lstrip("/"))):
            ours = (prefix / _LIBRARY / names.MANIFEST).is_file()
            if ours and not prefix.is_symlink() and not (prefix / _PACKAGED).exists():
                found.append(str(prefix))
    return found


def tidy(prefix: Path) -> bool:
    """Remove the empty folders of a prefix, itself included; whether nothing is left of it."""
    for folder, _folders, _files in os.walk(prefix, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()
    return not prefix.exists()
