"""Units of an engine that has a network of its own behind the door with the key (`door`, on the node)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..addresses import joined
from . import door, unit
from .model import Common, File

LIBRARY = "/usr/local/lib/mi50-aipc"
# Nobody else is in that network.
INNER_PORT = 41343


def package(name: str) -> str:
    """Folder of the programs on the node."""
    return f"{LIBRARY}/mi50_{name}"


def starter(name: str) -> str:
    """What the unit starts."""
    return f"{LIBRARY}/mi50_{name}_run.py"


def settings(name: str) -> str:
    """The program's configuration; no secret is in it."""
    return f"/etc/mi50-aipc/{name}.json"


def socket_unit(name: str) -> str:
    """The unit that listens."""
    return f"mi50-{name}.socket"


def start(name: str) -> tuple[str, ...]:
    """Command of the service."""
    return ("/usr/bin/python3", "-I", starter(name), settings(name))


def ordering(name: str) -> tuple[tuple[str, str], ...]:
    """Lines of [Unit]."""
    return (("Requires", socket_unit(name)), ("After", socket_unit(name)))


def properties() -> tuple[tuple[str, str], ...]:
    """Lines of [Service]."""
    return (
        ("PrivateNetwork", "yes"),
        # Node.js and Go ask the kernel for its network interfaces.
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        ("KillMode", "mixed"),
    )


def files(common: Common, program: ModuleType, title: str, asked: Mapping[str, Any]) -> tuple[File, ...]:
    """Programs, configuration and socket. `program` is the module that knows the engine, `asked` its configuration."""
    name = common.name
    content = {"inner_port": INNER_PORT, "key_file": common.key.path, "load_timeout": common.load_timeout, **asked}
    socket = (
        f"{unit.HEAD.format(name=name)}"
        "# The engine has a network of its own; this is its only door, and behind it the key is looked at.\n"
        f"[Unit]\nDescription={title}'s door\nPartOf=mi50-{name}.service\n\n"
        f"[Socket]\nListenStream={joined(common.bind, common.port)}\nNoDelay=yes\n"
    )
    folder = package(name)
    return (
        File(starter(name), unit.python(f"mi50_{name}.run", folder.rpartition("/")[0])),
        File(f"{folder}/__init__.py", ""),
        File(f"{folder}/door.py", inspect.getsource(door)),
        File(f"{folder}/run.py", inspect.getsource(program)),
        File(settings(name), json.dumps(content, indent=2, sort_keys=True) + "\n"),
        File(f"{unit.UNITS}/{socket_unit(name)}", socket),
    )


def remains(name: str) -> tuple[str, ...]:
    """What is left of them when their files are gone."""
    return (package(name), starter(name), settings(name))
