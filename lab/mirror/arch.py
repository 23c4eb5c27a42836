"""Arch packages made by the real makepkg and signed as a packager signs them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import keys
from lab.console import run, step
from lab.mirror import rocblas
from lab.settings import LabError, Settings

NAME, VERSION, RELEASE = "rocblas", "6.4.3", "3"
NOBODY = "65534"
SCRATCH = Path("/", "var", "tmp")
PKGBUILD = """\
# Stand-in recipe: Arch's layout, Debian's real build inside.
pkgname={name}
pkgver={version}
pkgrel={release}
pkgdesc='Next generation BLAS implementation for ROCm platform'
arch=('x86_64')
url='https://rocm.docs.amd.com/projects/rocBLAS/en/latest/index.html'
license=('MIT')
depends=('rocm-core' 'hip-runtime-amd')
options=('!strip' '!zipman' '!purge')
package() {{
  mv "$startdir/tree/"* "$pkgdir/"
}}
"""
# Later assignments win over the system's makepkg.conf, which is sourced first.
CONFIG = """\
source /etc/makepkg.conf
PKGEXT='.pkg.tar.zst'
COMPRESSZST=(zstd -c -T0 -q -)
PACKAGER='mi50-aipc lab <packager@lab.invalid>'
"""


def filename(version: str = VERSION, release: str = RELEASE) -> str:
    """The name Arch's archive gives the package."""
    return f"{NAME}-{version}-{release}-x86_64.pkg.tar.zst"


def make(folder: Path, fill: Callable[[Path], None], version: str = VERSION, release: str = RELEASE) -> Path:
    """Run makepkg over the tree that `fill` lays out; return the package, moved into `folder`.

    makepkg refuses to run as root, so root hands the work to `nobody`; fakeroot gives the members their owner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not below the cache: that may sit in a home which `nobody` may not enter. Not in /tmp: that may be memory.
    scratch = Path(tempfile.mkdtemp(prefix="mi50-lab-makepkg-", dir=SCRATCH))
    try:
        work = scratch / "work"
        fill(work / "tree")
        (work / "PKGBUILD").write_text(PKGBUILD.format(name=NAME, version=version, release=release))
        (work / "makepkg.conf").write_text(CONFIG)
        done = run(_unprivileged(scratch, work), cwd=Path("/"), check=False)
        package = work / filename(version, release)
        if not package.exists():
            raise LabError(f"makepkg made no {package.name}:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        target = folder / package.name
        shutil.move(package, target)
        target.chmod(0o644)
        if os.geteuid() == 0:
            os.chown(target, 0, 0)
        return target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unprivileged(scratch: Path, work: Path) -> list[str]:
    shell = f"cd '{work}' && exec makepkg --config '{work}/makepkg.conf' --nodeps --nocheck --force"
    environment = [
        "env",
        f"HOME={work}",
        f"BUILDDIR={work}/build",
        f"PKGDEST={work}",
        "SOURCE_DATE_EPOCH=1750000000",
        "LC_ALL=C",
    ]
    if os.geteuid() != 0:
        return [*environment, "sh", "-c", shell]
    run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(scratch)])
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*drop, *environment, "sh", "-c", shell]


def rocblas_tree(deb: Path, tree: Path) -> None:
    """Debian's whole package under Arch's paths."""
    raw = tree.with_name("raw")
    rocblas.unpack_all(deb, raw)
    source = raw / "usr/lib/x86_64-linux-gnu"
    lib = tree / "opt/rocm/lib"
    (lib / "rocblas").mkdir(parents=True)
    library = next((source / "rocblas").glob("*/library"))
    library.rename(lib / "rocblas/library")
    for path in source.glob("librocblas.so*"):
        path.rename(lib / path.name)
    licences = tree / "usr/share/licenses/rocblas"
    licences.mkdir(parents=True)
    (raw / "usr/share/doc/librocblas4/copyright").rename(licences / "LICENSE")
    shutil.rmtree(raw)


def build(settings: Settings, deb: Path, target: Path) -> None:
    """The archive's folder: the package of everything, and its detached signature."""
    with step("Packing Debian's rocBLAS as Arch's rocblas-6.4.3-3 with makepkg (4.1 GB in, about 300 MB out)"):
        package = make(target, lambda tree: rocblas_tree(deb, tree))
    keys.sign(settings, "packager", package, output=package.with_name(package.name + ".sig"))
