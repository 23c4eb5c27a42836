"""What can happen to nodes, their mirror and their controller in lab/chaos, and how it is made good again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from lab import engine, inventory, nodes
from lab.image import build as image
from lab.mirror import server
from lab.settings import MIRROR_CONTAINER, LabError, Settings

# Seconds that the mirror stays away, that a node without power does, and that a node may take to answer again.
STOPPED = 60.0
DARK = 8.0
BACK = 120.0
# The disk that can run full: where ROCm, torch, downloads and packages go, on one file system of the node's own.
DISK = "/srv/chaos"
FOLDERS = ("opt", "var/cache/mi50-aipc", "var/lib/mi50-aipc", "var/cache/apt/archives")
ROOMY = "200g"
OF_A_NODE = frozenset({"kill", "restart", "ssh", "disk"})


def _kill(node: str) -> None:
    """Power off, at once, and on again a while later."""
    engine.docker("kill", nodes.container(node))
    time.sleep(DARK)
    engine.docker("start", nodes.container(node))


def _restart(node: str) -> None:
    """A reboot that nobody asked for."""
    engine.docker("restart", "-t", "3", nodes.container(node))


def _ssh(node: str) -> None:
    """Cut every SSH connection of a node; new ones are taken."""
    engine.docker("exec", nodes.container(node), "pkill", "-KILL", "-f", "sshd: ops", check=False)


def _mirror(_node: str) -> None:
    """The mirror is gone for a minute."""
    engine.docker("stop", "-t", "1", MIRROR_CONTAINER)
    time.sleep(STOPPED)
    engine.docker("start", MIRROR_CONTAINER)


def _disk(node: str) -> None:
    """The disk of a node is full from now on, for as long as the run takes."""
    script = f"mount -o remount,size=$(($(df -k --output=used {DISK} | tail -n 1) + 64))k {DISK}"
    engine.docker("exec", nodes.container(node), "sh", "-c", script)


KINDS: dict[str, Callable[[str], None]] = {
    "kill": _kill,
    "restart": _restart,
    "ssh": _ssh,
    "mirror": _mirror,
    "disk": _disk,
    # Handled by the runner, which has the process.
    "controller": lambda _node: None,
}


def fresh(settings: Settings, small: list[str], builds: Path) -> None:
    """Nodes that have never been anything, no wheels of earlier builds, and a disk of their own for `small`."""
    shutil.rmtree(builds, ignore_errors=True)
    for name in settings.node_names():
        nodes.remove(name)
    inventory_url = server.up(settings)
    nodes.up(settings, image.node(settings))
    inventory.write(settings, inventory_url)
    for name in small:
        lines = [f"mkdir -p {DISK}", f"mount -t tmpfs -o size={ROOMY},mode=0755 chaos {DISK}"]
        for folder in FOLDERS:
            lines += [f"mkdir -p /{folder} {DISK}/{folder}", f"cp -a /{folder}/. {DISK}/{folder}/"]
            lines += [f"chmod --reference=/{folder} {DISK}/{folder}", f"mount --bind {DISK}/{folder} /{folder}"]
        engine.docker("exec", nodes.container(name), "sh", "-c", " && ".join(lines))


def heal(settings: Settings) -> None:
    """Give back what the events took: space, power, the mirror. What a person would do, and no more."""
    for name in settings.node_names():
        found = engine.inspect(nodes.container(name))
        if found and not found["State"]["Running"]:
            engine.docker("start", nodes.container(name))
        _wait(name)
        script = f"if mountpoint -q {DISK}; then mount -o remount,size={ROOMY} {DISK}; fi"
        engine.docker("exec", nodes.container(name), "sh", "-c", script)
    inventory.write(settings, server.up(settings))


def _wait(name: str) -> None:
    """Until a node takes connections again: a unit of an interrupted build may well have failed."""
    deadline = time.monotonic() + BACK
    while time.monotonic() < deadline:
        done = engine.docker("exec", nodes.container(name), "systemctl", "is-active", "ssh.service", check=False)
        if done.stdout.strip() == "active":
            return
        time.sleep(0.5)
    raise LabError(f"{name} did not come back within {BACK:.0f} s")
