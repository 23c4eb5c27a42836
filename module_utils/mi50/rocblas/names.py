"""Which file names matter, in an archive and in a library directory.

Names as Tensile makes them (TensileCreateLibrary.py of rocBLAS 4.4.1); counted in Debian's build: every `X_gfx906.dat`
has its `X_gfx906.co`, every `X_fallback.dat` its `X_fallback_gfx906.hsaco`; Arch's build says `gfx906-xnack-`.
"""

from __future__ import annotations

import re

FALLBACK = re.compile(r"TensileLibrary[^/]*_fallback\.dat")
SONAME = re.compile(r"librocblas\.so\.(\d+\.\d+)[0-9.]*")
ARCH = re.compile(r"gfx[0-9a-f]{3,5}")
PRIVATE = ".gfx906_rocblas"
MANIFEST = f"{PRIVATE}.json"
JOURNAL = f"{PRIVATE}.journal"
BACKUP = f"{PRIVATE}.backup"
STAGING = f"{PRIVATE}.staging"


def kernel_pattern(arch: str) -> re.Pattern[str]:
    """Match code objects and catalogs of `arch`, not those of an architecture whose name only starts so."""
    return re.compile(rf"[^/]*(?<![0-9A-Za-z]){re.escape(arch)}(?![0-9A-Za-z])[^/]*\.(?:co|hsaco|dat)")


def lazy_index(arch: str) -> str:
    """Return the catalog of catalogs rocBLAS opens first; without it rocBLAS loads nothing of `arch`."""
    return f"TensileLibrary_lazy_{arch}.dat"


def unsafe(name: str) -> bool:
    """True for a member name that is absolute, climbs, or is no text."""
    return (
        name.startswith("/")
        or ".." in name.split("/")
        or any(ord(letter) < ord(" ") or "\ud800" <= letter <= "\udfff" for letter in name)
    )
