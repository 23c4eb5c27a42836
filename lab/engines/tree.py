"""A tree of Debian unstable with llama-server (CPU and Vulkan), made once per cache and lent to the nodes read-only."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import cache, debian
from lab.console import as_root, run, step
from lab.engine import DEBIAN_KEYRING
from lab.settings import Settings

SUITE = "unstable"
PACKAGES = ("llama.cpp", "libggml0-backend-vulkan", "mesa-vulkan-drivers")
SETUP = Path(__file__).parent / "tree.sh"


def folder(settings: Settings) -> Path:
    """What the nodes see as /srv/mi50-lab/engines: empty until the benchmark is asked for."""
    return settings.cache / "engines"


def ensure(settings: Settings) -> Path:
    """The tree, built when it is missing: half a minute of debootstrap and a download of 200 MB."""
    archive = debian.archive()
    name = f"tree-{cache.key(SUITE, *PACKAGES, archive.main, SETUP)}"
    target = folder(settings) / name
    if target.exists():
        return target
    # Not cache.build: the tree belongs to root, who alone can remove a half-made one.
    scratch = folder(settings) / f".partial-{name}"
    run(as_root(["rm", "-rf", "--one-file-system", str(scratch)]))
    scratch.parent.mkdir(parents=True, exist_ok=True)
    proxies = debian.proxies()
    environment = ["env", "LC_ALL=C.UTF-8", *(f"{key}={value}" for key, value in proxies.items())]
    with step(f"Building the engines' tree (Debian {SUITE}: {' '.join(PACKAGES)})"):
        bootstrap = ["debootstrap", "--variant=minbase", f"--keyring={DEBIAN_KEYRING}", SUITE]
        run(as_root([*environment, *bootstrap, str(scratch), archive.main]))
        run(as_root([*environment, "sh", str(SETUP), str(scratch), *PACKAGES]))
        run(as_root(["mv", str(scratch), str(target)]))
    for old in folder(settings).glob("tree-*"):
        if old != target:
            run(as_root(["rm", "-rf", "--one-file-system", str(old)]))
    return target


def version(tree: Path) -> str:
    """Version of the llama.cpp package in a tree."""
    query = ["chroot", str(tree), "dpkg-query", "-W", "-f", "${Version}", "llama.cpp"]
    return run(as_root(query)).stdout.strip()


def free_gib(settings: Settings) -> float:
    """Free space where the tree goes, in GiB."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(settings.cache).free / (1 << 30)
