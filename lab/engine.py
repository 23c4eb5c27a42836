"""The container engine: use a running one; where none runs, install Debian's and start it."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Any

from lab.console import as_root, run, say, step
from lab.settings import OURS, LabError

# Command looked for -> Debian package that brings it.
TOOLS = {
    "debootstrap": "debootstrap",
    "makepkg": "makepkg",
    # makepkg stops with "unknown error" when it finds no package manager; Debian's package does not depend on one.
    "pacman": "pacman-package-manager",
    "fakeroot": "fakeroot",
    "zstd": "zstd",
    "xz": "xz-utils",
    "bsdtar": "libarchive-tools",
    "gpg": "gnupg",
    "gpgv": "gpgv",
    "dpkg-deb": "dpkg",
    "apt-ftparchive": "apt-utils",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
START_SECONDS = 60
# On networks that the lab gave a subnet of its own choice: only there does the engine grant wishes for addresses.
FIXED = "mi50-lab.addresses=fixed"


def install_tools() -> None:
    """Install what is missing, by name and loudly."""
    wanted = {package for command, package in TOOLS.items() if _which(command) is None}
    if not DEBIAN_KEYRING.exists():
        wanted.add("debian-archive-keyring")
    if _which("docker") is None:
        wanted.add("docker.io")
    if wanted:
        apt_install(sorted(wanted))


def _which(command: str) -> str | None:
    return shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def apt_install(packages: list[str]) -> None:
    """Install packages on this machine, saying so; raises LabError where there is no apt."""
    if _which("apt-get") is None:
        raise LabError(f"the lab needs {' '.join(packages)}; install them with this system's package manager")
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    with step(f"Installing on this machine: {' '.join(packages)}"):
        run(as_root(["apt-get", "update"]))
        run(as_root([*environment, "apt-get", "install", "-y", "--no-install-recommends", *packages]))


def _docker_argv() -> list[str]:
    direct = subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    return ["docker"] if direct or os.geteuid() == 0 else ["sudo", "docker"]


_ARGV: list[str] = []


def docker(
    *args: str, check: bool = True, stdin: IO[Any] | None = None, data: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the docker client, through sudo where the engine's socket is not ours to open."""
    if not _ARGV:
        _ARGV.extend(_docker_argv())
    return run([*_ARGV, *args], check=check, stdin=stdin, data=data)


def running() -> bool:
    """Whether an engine answers."""
    return _which("docker") is not None and docker("version", check=False).returncode == 0


def ensure(cache: Path) -> None:
    """Make sure that an engine answers; remember it in the cache when this call started it."""
    if running():
        return
    if _which("dockerd") is None:
        apt_install(["docker.io"])
    if Path("/run/systemd/system").is_dir():
        run(as_root(["systemctl", "start", "docker"]))
    else:
        _start_dockerd(cache)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _ARGV.clear()
        if running():
            return
        time.sleep(0.5)
    raise LabError(f"the Docker engine did not answer within {START_SECONDS} s; see {cache / 'dockerd.log'}")


def _start_dockerd(cache: Path) -> None:
    say(f"no Docker engine runs and systemd is not PID 1: starting dockerd, log in {cache / 'dockerd.log'}")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "dockerd.log").open("ab") as log:
        child = subprocess.Popen(
            as_root(["dockerd"]), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    (cache / "dockerd.pid").write_text(f"{child.pid}\n")


def stop_started(cache: Path) -> None:
    """Stop the engine if, and only if, this lab started it."""
    record = cache / "dockerd.pid"
    if not record.exists():
        return
    pid = record.read_text().strip()
    command = Path(f"/proc/{pid}/cmdline")
    # The number may belong to somebody else by now.
    if command.exists() and b"dockerd" in command.read_bytes():
        run(as_root(["kill", pid]), check=False)
        say(f"stopped the dockerd this lab had started (pid {pid})")
    record.unlink()


def image_exists(name: str) -> bool:
    """Whether an image of that name is known to the engine."""
    return docker("image", "inspect", name, check=False).returncode == 0


def inspect(container: str) -> dict[str, Any] | None:
    """What the engine knows about a container, or None."""
    done = docker("container", "inspect", container, check=False)
    if done.returncode != 0:
        return None
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found[0]


def address(container: str, network: str) -> str:
    """The container's IPv4 address on a network."""
    found = inspect(container)
    value = found["NetworkSettings"]["Networks"].get(network, {}).get("IPAddress", "") if found else ""
    if not value:
        raise LabError(f"container {container} has no address on network {network}; run script/lab up")
    return str(value)


def ensure_network(name: str) -> None:
    """A bridge of the lab's own, on a subnet that the engine found free; containers on it can have fixed addresses."""
    found = docker("network", "inspect", name, check=False)
    if found.returncode == 0:
        if FIXED.partition("=")[0] in (json.loads(found.stdout)[0]["Labels"] or {}):
            return
        # Of an older lab: it goes when nothing is on it, and stays as it is otherwise.
        if docker("network", "rm", name, check=False).returncode != 0:
            return
    for dummy in range(3):
        docker("network", "create", "--label", OURS, name)
        subnet = _subnet(name)
        docker("network", "rm", name)
        given = ["--label", OURS, "--label", FIXED, "--subnet", subnet]
        # Another network may have taken the subnet in between.
        if docker("network", "create", *given, name, check=False).returncode == 0:
            return
    raise LabError(f"the Docker engine gave network {name} no subnet in three attempts")


def _subnet(network: str) -> str:
    found = json.loads(docker("network", "inspect", network).stdout)[0]["IPAM"]["Config"]
    return str(next(one["Subnet"] for one in found if ":" not in one["Subnet"]))


def fixed_address(network: str, place: int) -> list[str]:
    """Options that give a new container the address of that place, counted from the subnet's end.

    A restarted machine has the address it had. The engine's own choice is the first that is free, and a neighbour's
    may just be. Empty on a network of an older lab, which grants no wishes.
    """
    found = json.loads(docker("network", "inspect", network).stdout)[0]
    if FIXED.partition("=")[0] not in (found["Labels"] or {}):
        return []
    return ["--ip", str(ipaddress.ip_network(_subnet(network))[-2 - place])]


def labelled(kind: str, label: str = OURS) -> list[str]:
    """Ids of containers, networks or volumes of this lab; with LABEL of every lab on this machine."""
    extra = ["-a"] if kind == "container" else []
    return docker(kind, "ls", "-q", *extra, "--filter", f"label={label}").stdout.split()
