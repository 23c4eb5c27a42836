"""The machine as it is after its boot, kept in the cache: tests start there within a second."""

from __future__ import annotations

from pathlib import Path

from lab import cache
from lab.console import run
from lab.settings import Settings
from lab.vm import build, machine
from lab.vm.machine import Machine


def booted(settings: Settings) -> Machine:
    """A machine of the cached image in the cached state after its boot; both are made first when they are missing."""
    image = build.ensure(settings)
    with cache.lock(settings.cache):
        # The state belongs to one QEMU and one command line.
        recipe = cache.key(
            str(image.root), machine.clock(), run([build.QEMU, "--version"]).stdout, Path(machine.__file__)
        )

        def make(target: Path) -> None:
            with Machine(image) as fresh:
                fresh.run("systemctl", "is-system-running", "--wait", check=False)
                fresh.keep(target)

        disk = cache.build(settings.cache, f"vmstate-{recipe}.qcow2", make)
        cache.prune(settings.cache, disk, "vmstate-*")
    return Machine(image, disk=disk)
