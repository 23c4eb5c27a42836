"""Compose the mirror's docroot from the parts in the cache."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from lab import cache, debian, keys
from lab.console import step
from lab.mirror import apt, arch, git, packages, rocblas, wheels
from lab.settings import Settings

HERE = Path(__file__).parent
RECIPE = [*(HERE / f"{name}.py" for name in ("apt", "packages", "rocblas", "tree", "wheels")), packages.STANDINS]


def source_package(settings: Settings) -> Path:
    """Debian's rocBLAS in the cache; looked up once, then this cache stays with that version."""
    folder = settings.cache / "debs"
    present = sorted(folder.glob(f"{debian.SOURCE_PACKAGE}_*.deb"))
    return present[-1] if present else debian.download(debian.find(), folder)


def arch_archive(settings: Settings, deb: Path) -> Path:
    """The folder with Arch's package of everything in `deb`, and its signature."""
    packager = keys.fingerprint(settings, "packager")
    name = f"arch-{cache.key(HERE / 'arch.py', deb.name, packager)}"
    return cache.build(settings.cache, name, lambda target: arch.build(settings, deb, target))


def docroot(settings: Settings) -> Path:
    """The folder nginx serves, whole."""
    deb = source_package(settings)
    arch_folder = arch_archive(settings, deb)
    rocm = keys.fingerprint(settings, "rocm")
    name = f"mirror-{cache.key(*RECIPE, deb.name, rocm, arch_folder.name, str(settings.rocblas_all), git.key())}"
    root = cache.build(settings.cache, name, lambda target: _compose(settings, deb, arch_folder, target))
    cache.prune(settings.cache, arch_folder, "arch-*")
    cache.prune(settings.cache, root, "mirror-*")
    return root


def facts(root: Path) -> dict[str, object]:
    """What the build recorded about a docroot: source package and number of gfx906 files."""
    found: dict[str, object] = json.loads((root / "lab.json").read_text())
    return found


def _compose(settings: Settings, deb: Path, arch_folder: Path, target: Path) -> None:
    members = rocblas.members(deb)
    for release in packages.RELEASES:
        with step(f"Building AMD's repositories of ROCm {release.number}"):
            _release(settings, release, deb, members, target / "radeon")
    shutil.copy(keys.openpgp(settings, "rocm") / "public.asc", target / "radeon/rocm/rocm.gpg.key")
    folder = target / "arch/packages/r/rocblas"
    folder.mkdir(parents=True)
    for path in arch_folder.iterdir():
        os.link(path, folder / path.name)
    git.compose(settings, target)
    wheels.build(settings, deb, members, target)
    record = {"source": deb.name, "gfx906_files": len(rocblas.gfx906(members)), "library_files": len(members)}
    (target / "lab.json").write_text(json.dumps(record, indent=2) + "\n")


def _release(settings: Settings, release: packages.Release, deb: Path, members: list[str], radeon: Path) -> None:
    userspace = radeon / "rocm/apt" / release.number
    driver = radeon / "amdgpu" / release.number / "ubuntu"
    with tempfile.TemporaryDirectory(prefix=".rocblas-", dir=settings.cache) as scratch:
        tree = Path(scratch) / "tree"
        chosen = rocblas.amd(members, everything=settings.rocblas_all, with_gfx906=release.gfx906)
        rocblas.unpack(deb, chosen, tree / f"opt/rocm-{release.number}/lib/rocblas/library")
        for package in packages.userspace(release, tree):
            apt.build_deb(package, userspace / "pool/main")
    for package in packages.driver(release):
        apt.build_deb(package, driver / "pool/main")
    for root in (userspace, driver):
        apt.publish(settings, root, suite=packages.SUITE, origin="repo.radeon.com", key="rocm", release=release.number)
