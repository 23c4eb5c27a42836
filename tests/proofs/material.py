"""What the proofs work on: Debian's real kernels as the lab has them, or the unit tests' synthetic ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from lab import cache
from lab.mirror import tree
from lab.settings import from_environment
from tests.unit.rocblas import synthetic

FOLDER = "./usr/lib/x86_64-linux-gnu/rocblas/*/library/"
# Small architectures of Debian's build whose code objects stand in for gfx906 in forged archives.
OTHERS = ("gfx900", "gfx908", "gfx90a")


class Material(NamedTuple):
    """A build: gfx906 files, catalogs that all architectures share, and code objects of other architectures."""

    name: str
    kernels: synthetic.Files
    shared: synthetic.Files
    foreign: list[bytes]
    index: str = synthetic.INDEX

    def prefix(self, root: Path) -> Path:
        """Lay out a ROCm prefix as AMD ships it: without gfx906."""
        return synthetic.prefix(root, files=self.shared)

    def complete(self) -> synthetic.Files:
        """What Arch's package holds, as far as it matters here."""
        return {**self.shared, **self.kernels}


def made_up() -> Material:
    """A few kilobytes with the names and headers of the real thing."""
    shared = {name: data for name, data in synthetic.amd().items() if "_fallback" in name}
    foreign = [synthetic.code_object(machine) for machine in (synthetic.GFX908, 0x2C, 0x33)]
    # But for the file that nothing names: the module cannot know that it is missing.
    kernels = {name: data for name, data in synthetic.kernels().items() if "_zz_" not in name}
    return Material("synthetic", kernels, shared, foreign)


def real() -> Material:
    """All 140 gfx906 files (142 MB) of Debian's librocblas4 and its 50 shared catalogs; downloads it when need be."""
    settings = from_environment()
    deb = tree.source_package(settings)
    name = f"proof-{cache.key(FOLDER, *OTHERS, deb.name)}"
    folder = cache.build(settings.cache, name, lambda path: _unpack(deb, path))
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    kernels = {name: data for name, data in files.items() if "gfx906" in name}
    shared = {name: data for name, data in files.items() if "gfx" not in name}
    foreign = [data for name, data in files.items() if any(other in name for other in OTHERS)]
    return Material("Debian's librocblas4", kernels, shared, foreign)


def _unpack(deb: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    wanted = [f"{FOLDER}*gfx906*", f"{FOLDER}*_fallback.dat", *(f"{FOLDER}*Type_HH_C*_{other}.co" for other in OTHERS)]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as producer:
        strip = ["tar", "-x", "-C", str(folder), "--strip-components=7", "--no-same-owner", "--wildcards"]
        subprocess.run([*strip, *wanted], stdin=producer.stdout, check=True)


class Packages(NamedTuple):
    """The whole packages: 4.1 GB unpacked each."""

    arch: Path
    deb: Path


def packages() -> Packages:
    """Arch's package as makepkg packs it, and Debian's; downloads and packs them when need be."""
    settings = from_environment()
    with cache.lock(settings.cache):
        deb = tree.source_package(settings)
        (arch,) = tree.arch_archive(settings, deb).glob("*.pkg.tar.zst")
    return Packages(arch, deb)
