"""The lab's own artifact mirror: a node like the others that the role artifact_mirror turns into one.

The lab's first mirror (lab/mirror) stands for the upstream hosts; what the depot takes from it, and the nodes from the
depot, is in the access logs of both.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab import engine, inventory, keys, nodes, site
from lab.console import say
from lab.image import build as image
from lab.mirror import git, server, tree
from lab.settings import NETWORK, LabError, Settings

NAME = "depot"
# Upstream variable -> folder of the lab's first mirror.
UPSTREAM = {
    "mi50_url_radeon": "radeon",
    "mi50_url_arch_archive": "arch",
    "mi50_url_github": "github",
    "mi50_url_pypi": "pypi",
    "mi50_url_triton": "triton",
    "mi50_url_pytorch": "pytorch",
}
# What the lab's upstream has, of all that a stack names: the real engines' archives and images are not there.
ITEMS = (
    *("rocm-key", "apt-debian-12", "rocblas-arch", "torch-index"),
    *("triton-gfx906", "triton-llvm", "build-triton"),
)
BUILD = "small"
EXPORTED = "/srv/mi50-exported"


@dataclass(frozen=True)
class Log:
    """Bytes that a web server gave away, by client address."""

    clients: dict[str, int]

    @property
    def sent(self) -> int:
        """All of them."""
        return sum(self.clients.values())


def folder(settings: Settings) -> Path:
    """Where the lab keeps what belongs to the depot."""
    found = settings.cache / "depot"
    found.mkdir(parents=True, exist_ok=True)
    return found


def up(settings: Settings, upstream: str) -> str:
    """Make the depot's container anew and write its inventory; return its address."""
    nodes.remove(NAME)
    (folder(settings) / "exported").mkdir(exist_ok=True)
    nodes.create(settings, NAME, image.node(settings), (f"-v={folder(settings) / 'exported'}:{EXPORTED}",))
    return write_inventory(settings, upstream)


def write_inventory(settings: Settings, upstream: str) -> str:
    """Write the depot's part of the inventory and what nodes set to use it; return its address."""
    address = engine.address(nodes.container(NAME), NETWORK)
    public = Path(f"{keys.ssh(settings, NAME)}.pub").read_text().split()
    known = inventory.known_hosts(settings)
    kept = [line for line in known.read_text().splitlines() if line.split()[0] != address] if known.exists() else []
    known.write_text("".join(f"{line}\n" for line in [*kept, f"{address} {public[0]} {public[1]}"]))
    options = "-o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
    variables = {
        "ansible_host": address,
        "ansible_user": "ops",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(keys.ssh(settings, "login")),
        "ansible_ssh_common_args": options.format(known),
        "rocm_apt_key_fingerprint": keys.fingerprint(settings, "rocm"),
        "mi50_stack_lock_file": str(lock_file(settings)),
        "artifact_mirror_keyring": "/srv/mi50-lab/packager.gpg",
        "artifact_mirror_platforms": ["debian-12"],
        "artifact_mirror_items": list(ITEMS),
        "artifact_mirror_overrides": {"triton-gfx906": {"commit": git.commits(tree.docroot(settings))[BUILD]}},
        **{name: f"{upstream}/{path}" for name, path in UPSTREAM.items()},
    }
    text = yaml.safe_dump({"mi50_mirror": {"hosts": {NAME: variables}}}, sort_keys=False)
    (folder(settings) / "hosts.yml").write_text(text)
    base = f"http://{address}:8090"
    given: dict[str, object] = {name: f"{base}/{name.removeprefix('mi50_url_')}" for name in UPSTREAM}
    given.update(light(settings))
    given.update(mi50_stack_lock_file=str(lock_file(settings)), artifact_mirror_client_base=base)
    (folder(settings) / "nodes.json").write_text(json.dumps(given))
    return address


def light(settings: Settings) -> dict[str, object]:
    """Variables for a light thing to build: what these runs are about is not the compiler."""
    recipe = {"commit": git.commits(tree.docroot(settings))[BUILD], "job_mib": 400, "disk_gib": 0.5}
    return {"build_once_overrides": {"triton": recipe}}


def lock_file(settings: Settings) -> Path:
    """The lock that filling the depot writes."""
    return folder(settings) / "stack.lock.yml"


def run(settings: Settings, playbook: str, *arguments: str, quiet: bool = False) -> site.Result:
    """A playbook with the lab's inventory and the depot's. Raises LabError when it fails."""
    result = site.run(settings, ["-i", str(folder(settings) / "hosts.yml"), *arguments], playbook=playbook, quiet=quiet)
    if result.returncode:
        raise LabError(f"{playbook} failed:\n{result.output[-4000:]}")
    return result


def through(settings: Settings) -> tuple[str, ...]:
    """Arguments with which nodes take everything from the depot."""
    return ("-e", f"@{folder(settings) / 'nodes.json'}")


def log(since: int = 0) -> Log:
    """What the depot's web server gave away, from a line of its log on."""
    text = engine.docker(
        "exec", nodes.container(NAME), "sh", "-c", f"tail -n +{since + 1} /var/log/nginx/mi50-mirror.log", check=False
    ).stdout
    clients: dict[str, int] = {}
    for line in text.splitlines():
        fields = line.split("\t")
        clients[fields[1]] = clients.get(fields[1], 0) + int(fields[3])
    return Log(clients)


def lines() -> int:
    """A place in the depot's log, to be handed to `log`."""
    done = engine.docker(
        "exec", nodes.container(NAME), "sh", "-c", "cat /var/log/nginx/mi50-mirror.log | wc -l", check=False
    )
    return int(done.stdout or 0)


def cut(settings: Settings, names: list[str]) -> None:
    """Leave a container its own network alone, and of that neither the lab's upstream: only neighbours and SSH."""
    del settings
    upstream = server.url().removeprefix("http://")
    script = f"ip route del default; ip route replace unreachable {shlex.quote(upstream)}/32; ip route"
    for name in names:
        shown = engine.docker("exec", nodes.container(name), "sh", "-c", script).stdout
        say(f"{name} reaches: {' | '.join(shown.split(chr(10)))}")
