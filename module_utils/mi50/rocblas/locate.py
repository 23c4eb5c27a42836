"""Find the rocBLAS library directory a user means by `dest`."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import NoLibrary, RocblasError
from .names import SONAME

# ROCm prefix; virtual environment with a ROCm wheel of torch; Debian's multiarch layout under /usr.
LAYOUTS = (
    "lib/rocblas/library",
    "lib/python3*/site-packages/torch/lib/rocblas/library",
    "lib/*-linux-gnu/rocblas/*/library",
)


def library_directory(dest: str) -> Path:
    """Return the real path of the one library directory under `dest`; RocblasError: none (NoLibrary), several."""
    root = Path(os.path.realpath(dest))
    if not root.is_dir():
        raise RocblasError(f"{dest}: no such directory. Install ROCm or torch first, or correct `dest`.")
    if _is_library(root):
        return root
    found = sorted({path for layout in LAYOUTS for path in root.glob(layout) if path.is_dir()})
    real = {Path(os.path.realpath(path)) for path in found}
    if not real:
        expected = ", ".join(LAYOUTS)
        raise NoLibrary(
            f"{dest}: no rocBLAS library directory: it is none itself and none lies at {expected}. "
            "Name a ROCm prefix, a virtual environment with a ROCm build of torch, or the directory itself."
        )
    if len(real) > 1:
        listing = ", ".join(str(path) for path in sorted(real))
        raise RocblasError(f"{dest}: several rocBLAS library directories: {listing}. Name one of them as `dest`.")
    library = real.pop()
    if root not in library.parents:
        raise RocblasError(
            f"{found[0]}: leads out of {dest} to {library}, which others may use. Name {library} itself as `dest`."
        )
    if not _is_library(library):
        raise RocblasError(f"{library}: holds no Tensile library (TensileLibrary*); re-install rocBLAS or torch there.")
    return library


def _is_library(path: Path) -> bool:
    """rocBLAS's own directories always hold catalogs; a directory merely called so does not count."""
    return any(path.glob("TensileLibrary*.dat")) or any(path.glob("TensileLibrary*.co"))


def soname(library: Path) -> str:
    """Major and minor version of the librocblas.so beside the directory, e.g. `4.4`; empty where names do not tell."""
    for folder in list(library.parents)[1:3]:
        for path in sorted(folder.glob("librocblas.so.*")):
            match = SONAME.fullmatch(path.name)
            if match:
                return match.group(1)
    return ""
