"""What the proofs work on: Debian's real kernels as the lab has them, or the unit tests' synthetic ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import msgpack

from lab import cache
from lab.mirror import tree
from lab.settings import from_environment
from tests.unit.rocblas import synthetic

FOLDER = "./usr/lib/x86_64-linux-gnu/rocblas/*/library/"
# Small architectures of Debian's build whose code objects stand in for gfx906 in forged archives.
OTHERS = ("gfx900", "gfx908", "gfx90a")
GROUPS, PER_PART = 6, 4


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


def part_of(whole: Material) -> Material:
    """A few real files of each kind that belong together, a tenth of the bytes; the index is cut down to them."""
    tree = msgpack.unpackb(whole.kernels[whole.index], strict_map_key=False)
    chosen: set[str] = set()
    for group in ("_fallback", "_gfx906"):
        named = {name for name in _placeholders(tree) if name.endswith(group)}
        chosen |= set(sorted(named, key=lambda name: (_size(whole, name), name))[:GROUPS])
    stems = {name.removesuffix("_gfx906").removesuffix("_fallback") for name in chosen}
    kernels = {
        name: data
        for name, data in whole.kernels.items()
        if name.startswith("Kernels.so") or any(_belongs(name, stem, chosen) for stem in stems)
    }
    kernels[whole.index] = msgpack.packb({"rows": [{"type": "Placeholder", "value": name} for name in sorted(chosen)]})
    shared = {name: data for name, data in whole.shared.items() if name.removesuffix(".dat") in chosen}
    small = sorted(whole.foreign, key=len)[:PER_PART]
    return Material(f"{len(kernels)} files of {whole.name}", kernels, shared, small)


def _placeholders(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {str(node["value"])} if node.get("type") == "Placeholder" else set()
        return own.union(*map(_placeholders, node.values()))
    return set().union(*map(_placeholders, node)) if isinstance(node, list) else set()


def _belongs(name: str, stem: str, chosen: set[str]) -> bool:
    """The code objects and the catalog of a chosen group, and nothing of a group that was not."""
    rest = name.removeprefix(stem)
    group = "_fallback" if rest.startswith("_fallback_") else "_gfx906"
    return rest != name and rest.startswith(("_fallback_gfx906", "_gfx906")) and stem + group in chosen


def _size(whole: Material, name: str) -> int:
    return sum(len(data) for other, data in whole.kernels.items() if other.startswith(name))


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
