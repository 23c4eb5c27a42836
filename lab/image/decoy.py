"""The decoy: a repository that a node takes for its distribution's own, with HIGHER versions than AMD's.

Ubuntu 24.04 ships such packages (the 5.7 family) in universe; Debian 12 does not, so the lab supplies them. Without
AMD's pin apt would choose them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import keys
from lab.mirror import apt
from lab.settings import Settings

VERSION = "99.0-1"
NAMES = ("rocm-core", "rocminfo", "rocm-smi-lib", "rocblas")
HOME = "srv/mi50-lab/decoy"
NOTE = "STAND-IN for a distribution's own package of this name; installing it means that the pin was lost.\n"


def build(settings: Settings, tree: Path) -> None:
    """Lay the repository and its apt source out below `tree`."""
    root = tree / HOME
    root.mkdir(parents=True)
    for name in NAMES:
        files = {f"usr/share/doc/{name}/standin_decoy.txt": NOTE}
        apt.build_deb(apt.Deb(name, VERSION, files=files, summary="decoy of the mi50-aipc lab"), root / "pool/main")
    apt.publish(settings, root, suite="bookworm", origin="Debian", label="Debian", key="distribution")
    shutil.copy(keys.openpgp(settings, "distribution") / "public.gpg", root / "keyring.gpg")
    sources = tree / "etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    text = f"Types: deb\nURIs: file:/{HOME}\nSuites: bookworm\nComponents: main\nSigned-By: /{HOME}/keyring.gpg\n"
    (sources / "distribution-decoy.sources").write_text(text)
