"""Build the virtual machine's kernel, initrd and root file system; cached, made in a container of the lab's base."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import cache, engine
from lab.console import run, step
from lab.image import build as image
from lab.settings import OURS, Settings

HERE = Path(__file__).parent
QEMU = "qemu-system-x86_64"
FILES = ("vmlinuz", "initrd", "root.ext4", "version")


@dataclass(frozen=True)
class Image:
    """What a machine boots from; `versions` names the kernel and the packages inside."""

    kernel: Path
    initrd: Path
    root: Path
    versions: dict[str, str]


def ensure_qemu() -> None:
    """Install Debian's QEMU where it is missing, and say so."""
    packages = {QEMU: "qemu-system-x86", "qemu-img": "qemu-utils"}
    missing = [package for command, package in packages.items() if shutil.which(command) is None]
    if missing:
        engine.apt_install(missing)


def ensure(settings: Settings) -> Image:
    """The image of this recipe, built first when the cache has none."""
    ensure_qemu()
    with cache.lock(settings.cache):
        engine.install_tools()
        engine.ensure(settings.cache)
        base = image.base(settings)
        recipe = cache.key(base, HERE / "build.sh", HERE / "kernel", HERE / "agent")

        def make(target: Path) -> None:
            with step("Building the virtual machine's image (Debian kernel, stand-in buses, peers)"):
                _make(base, target)

        folder = cache.build(settings.cache, f"vm-{recipe}", make)
        cache.prune(settings.cache, folder, "vm-*")
    lines = (folder / "version").read_text().split("\n")
    versions = dict(line.split(" ", 1) for line in lines[1:] if line)
    return Image(folder / "vmlinuz", folder / "initrd", folder / "root.ext4", {"kernel": lines[0], **versions})


def _make(base: str, target: Path) -> None:
    container = engine.docker("run", "-d", "--label", OURS, base, "sleep", "infinity").stdout.strip()
    try:
        engine.docker("cp", str(HERE), f"{container}:/recipe")
        engine.docker("exec", container, "sh", "/recipe/build.sh")
        target.mkdir()
        for name in FILES:
            engine.docker("cp", f"{container}:/out/{name}", str(target / name))
        run(["fallocate", "--dig-holes", str(target / "root.ext4")], check=False)
    finally:
        engine.docker("rm", "-f", container, check=False)
