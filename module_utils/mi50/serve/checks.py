"""What must hold before anything changes: port, groups, disk, key, ICD. Each returns sentences; none raises."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..addresses import loopback
from . import key as keys
from . import systemd
from .model import CONFIG, UNIT, Common, Later, Node, Service

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_INODE = re.compile(r"socket:\[(\d+)\]")


def everything(common: Common, service: Service | None, node: Node) -> list[str]:
    """All of it, in the order a person would mend it; without a service what can be known without one."""
    return [
        *groups(service.groups if service else ("render", "video"), node),
        *openable(common, service.groups if service else ("render", "video"), node),
        *port(common, node),
        *disk(service.needs if service else (), node),
        *keys.problems(common.key, node, owners(common.user, node)),
        *exposed(common),
    ]


def owners(user: str, node: Node) -> frozenset[int]:
    """User ids that may own the key's file: root, and the service's user when there is one."""
    number = user_id(user, node)
    return frozenset({0} if number is None else {0, number})


def group_ids(names: Iterable[str], node: Node) -> dict[str, int | None]:
    """Numeric ids of groups on this host (None: there is no such group); containers need the numbers."""
    known = {row[0]: int(row[2]) for row in _rows(node.path("/etc/group")) if len(row) > 2 and row[2].isdigit()}
    return {name: known.get(name) for name in names}


def user_id(name: str, node: Node) -> int | None:
    """Numeric id of a user, None when there is none."""
    for row in _rows(node.path("/etc/passwd")):
        if row[0] == name and len(row) > 2 and row[2].isdigit():
            return int(row[2])
    return None


def groups(names: Sequence[str], node: Node) -> list[str]:
    """Groups that own the GPU's device files and do not exist here."""
    missing = [name for name, number in group_ids(names, node).items() if number is None]
    return [
        Later(
            f"there is no group {name} on this node, so the service could not open the GPU: run the role rocm, or "
            f"`groupadd --system {name}` and load amdgpu again"
        )
        for name in missing
    ]


def openable(common: Common, names: Sequence[str], node: Node) -> list[str]:
    """Cards whose render node the service's groups may not read and write: the user would see no card."""
    numbers = set(group_ids(names, node).values())
    if None in numbers:
        return []  # told by `groups`
    found = []
    for gpu in common.gpus:
        try:
            state = (node.dev / "dri" / gpu.render.rpartition("/")[2]).stat()
        except OSError:
            continue  # told with the cards
        mode = stat.S_IMODE(state.st_mode)
        mine = state.st_gid in numbers and mode & 0o060 == 0o060
        if mine or mode & 0o006 == 0o006:
            continue
        found.append(
            f"{gpu.render} belongs to group {state.st_gid} with mode {mode:04o}, and {common.user} is in "
            f"{', '.join(f'{name} ({number})' for name, number in group_ids(names, node).items())}: it could not open "
            f"the card {gpu.pci}. `chgrp render {gpu.render}; chmod 660 {gpu.render}`, or reload udev's rules"
        )
    return found


def exposed(common: Common) -> list[str]:
    """A public address without a key."""
    if loopback(common.bind) or common.key.path:
        return []
    return [f"{common.name}_bind is {common.bind}, but there is no API key: the model would be open to the network"]


def disk(needs: Sequence[tuple[str, int]], node: Node) -> list[str]:
    """Paths with less room than what is to be written there; needs on one file system add up."""
    wanted: dict[int, tuple[str, int, int]] = {}
    for name, size in needs:
        folder = _existing(node.path(name))
        device = folder.stat().st_dev
        first, total, free = wanted.get(device, (name, 0, shutil.disk_usage(folder).free))
        wanted[device] = (first, total + size, free)
    return [
        f"{name} has {free / 1e9:.1f} GB free, {size / 1e9:.1f} GB are needed: free some, or choose another directory"
        for name, size, free in wanted.values()
        if free < size
    ]


def port(common: Common, node: Node) -> list[str]:
    """The port is taken by something that is not this common."""
    owner = holder(common.port, node)
    if owner is None or f"/{UNIT.format(common.name)}" in owner[1] or _serves(common, node):
        return []
    who = f"process {owner[0]}" if owner[0] else "another program"
    return [f"port {common.port} is taken by {who}: stop it, or set {common.name}_port (nothing was changed)"]


def holder(number: int, node: Node) -> tuple[str, str] | None:
    """Who listens on a TCP port: name with id, and control group, empty where that cannot be seen; None: nobody."""
    inodes = listeners(number, node)
    return (_owner(inodes, node) or ("", "")) if inodes else None


def _serves(common: Common, node: Node) -> bool:
    """Whether the service, as installed, has that port: a container's is held by its engine, not by the unit."""
    try:
        known = json.loads(node.path(CONFIG.format(common.name)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(known.get("port") == common.port and systemd.state(UNIT.format(common.name), node).active == "active")


def listeners(number: int, node: Node) -> set[str]:
    """Inodes of the sockets that listen on a TCP port, on any address."""
    found = set()
    for name in ("net/tcp", "net/tcp6"):
        for line in _lines(node.proc / name)[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == number:
                found.add(fields[9])
    return found


def icds(pattern: str, node: Node, root: str = "") -> list[str]:
    """Vulkan driver manifests (`radeon_icd`, `lvp_icd`) of the node, or of a tree, as paths within it."""
    found = []
    for folder in ("/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"):
        base = node.path(f"{root}{folder}")
        found += [f"{folder}/{path.name}" for path in sorted(base.glob(f"{pattern}*.json"))]
    return found


def _owner(inodes: set[str], node: Node) -> tuple[str, str] | None:
    """Name with id, and control group, of a process that holds one of the sockets."""
    for folder in sorted(node.proc.glob("[0-9]*")):
        try:
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        held = {match.group(1) for link in links if (match := _INODE.match(link))}
        if held & inodes:
            name = "".join(_lines(folder / "comm")[:1]) or "?"
            return f"{name} ({folder.name})", "\n".join(_lines(folder / "cgroup"))
    return None


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _rows(path: Path) -> list[list[str]]:
    return [line.split(":") for line in _lines(path) if line and not line.startswith("#")]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
