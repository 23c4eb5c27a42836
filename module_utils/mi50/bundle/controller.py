"""What the controller adds to a bundle, and what the inventory knows of names and secrets. Runs on the controller."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import process
from ..stack.load import known_stacks, load_stack
from .scrub import SECRETIVE, Known

# Distributions' own hosts, by the end of their names; a private mirror's name is nobody's business.
_PUBLIC = (".debian.org", ".ubuntu.com")
_NAMED = re.compile(rf"(?i){SECRETIVE}")
_ADDRESS = ("ansible_host", "inventory_hostname", "inventory_hostname_short", "ansible_ssh_host")
_USER = ("ansible_user", "ansible_become_user", "ansible_ssh_user")


class Inventory(NamedTuple):
    """`number`: of the host among all, which stands for its name. `settings`: what the inventory sets of roles."""

    known: Known
    settings: Mapping[str, Any]
    number: int


def inventory(variables: Mapping[str, Any], settings: Mapping[str, Any], stacks_dir: Path) -> Inventory:
    """Return what an inventory tells of one of its hosts. `settings` are evaluated, `variables` need not be."""
    everybody = [str(name) for name in variables.get("groups", {}).get("all", [variables["inventory_hostname"]])]
    hostvars = variables.get("hostvars", {})
    per_host = [hostvars[name] for name in everybody if name in hostvars] or [variables]
    hosts = [*everybody, platform.node(), *_strings(per_host, _ADDRESS)]
    users = [getpass.getuser(), os.environ.get("SUDO_USER", ""), *_strings(per_host, _USER)]
    secrets = [text for name, value in variables.items() if _NAMED.fullmatch(name) for text in _inside(value)]
    secrets += [text for name, value in settings.items() if _NAMED.fullmatch(name) for text in _inside(value)]
    known = Known(
        # Short ones are no secrets but switches and amounts; a path tells where a secret is.
        secrets=tuple({one for one in secrets if len(one) >= 6 and not one.startswith(("/", "{{"))}),
        hosts=tuple(name for name in dict.fromkeys(hosts) if name and name not in ("localhost", "127.0.0.1")),
        users=tuple(name for name in dict.fromkeys(users) if name),
        public=tuple(public(stacks_dir)),
    )
    number = 1 + sorted(everybody).index(str(variables["inventory_hostname"]))
    return Inventory(known, settings, number)


def _strings(mappings: list[Mapping[str, Any]], names: tuple[str, ...]) -> Iterator[str]:
    for variables in mappings:
        yield from (str(variables[name]) for name in names if isinstance(variables.get(name), str))


def _inside(value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever a variable holds
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _inside(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _inside(inner)


def public(stacks_dir: Path) -> list[str]:
    """Return the hosts of addresses that everybody may know: those that the stacks name, and distributions'."""
    found = list(_PUBLIC)
    for name in known_stacks(stacks_dir):
        found += [urlsplit(str(base)).hostname or str(base) for base in load_stack(name, stacks_dir)["bases"].values()]
    return sorted({host for host in found if host})


def files(checkout: Path, reports: Path, host: str, settings: Mapping[str, Any], ansible: str) -> dict[str, str]:
    """Return the controller's part: versions, settings, the last reports of this host."""
    found = {
        "controller/versions.json": json.dumps(
            {
                "ansible-core": ansible,
                "python": platform.python_version(),
                "system": platform.platform(),
                "commit": _git(checkout, "rev-parse", "HEAD"),
                "changed": _git(checkout, "status", "--porcelain").splitlines(),
            },
            indent=1,
        ),
        "controller/settings.json": json.dumps(settings, indent=1, default=str),
    }
    for kind in ("preflight", "verify"):
        path = reports / kind / f"{host}.json"
        if path.is_file():
            found[f"controller/{kind}.json"] = path.read_text(encoding="utf-8")
    return found


def _git(checkout: Path, *words: str) -> str:
    """Output of git; empty where there is none, as in a downloaded archive."""
    try:
        done = process.run(["git", "-C", str(checkout), *words], timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.output.decode("utf-8", "replace").strip()
