"""Lab nodes: containers with systemd as PID 1, an SSH server with a host key the lab knows, simulated cards."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lab.sysfs
from lab import engine, keys
from lab.console import step
from lab.image import build as image
from lab.settings import NAME, NETWORK, OURS, LabError, Settings

BOOT_SECONDS = 90
GFX906 = 90006  # gfx_target_version of Vega 20
# `--privileged` needs CAP_SYS_RESOURCE, which the engine may lack; this boots systemd on cgroup v1 and v2.
FLAGS = (
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=host",
    "-v=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--stop-signal=SIGRTMIN+3",
    # A reboot from inside ends the container, with exit code 0; who stops or kills it from outside means it.
    "--restart=unless-stopped",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
    "-e=container=docker",
)
CAPABILITIES = ("--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN")
# With LAB_DOCKER=1 a container engine can run inside the node.
ENGINE_INSIDE = ("--cap-add=ALL", "--cap-drop=SYS_RESOURCE")


def container(name: str) -> str:
    """The container of an inventory name."""
    return f"{NAME}-{name}"


def up(settings: Settings, image_name: str) -> None:
    """Bring up every node that is missing, stopped or made from another image."""
    for preset in settings.cards:
        if preset not in image.preset_names():
            raise LabError(f"LAB_CARDS names {preset!r}; known presets: {', '.join(image.preset_names())}")
    wanted = set(settings.node_names())
    missing = [name for name in settings.node_names() if not _present(settings, name, image_name)]
    if not missing:
        return
    with step(f"Starting {len(missing)} of {len(wanted)} nodes"), ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda name: create(settings, name, image_name), missing))


def _recipe(settings: Settings, name: str, image_name: str) -> str:
    return f"{image_name} {settings.preset(name)} {'docker' if settings.has_docker(name) else 'plain'} engines"


def _present(settings: Settings, name: str, image_name: str) -> bool:
    found = engine.inspect(container(name))
    if not found:
        return False
    labels = found["Config"]["Labels"]
    if labels.get("mi50-lab.made-of") == _recipe(settings, name, image_name) and found["State"]["Running"]:
        return True
    remove(name)
    return False


def remove(name: str) -> None:
    """Remove one node and its volume."""
    engine.docker("rm", "-f", "-v", container(name), check=False)


def create(settings: Settings, name: str, image_name: str, extra: tuple[str, ...] = ()) -> None:
    """Make and boot one node; `extra` are more options for the engine."""
    label = f"mi50-lab.made-of={_recipe(settings, name, image_name)}"
    inside = [*ENGINE_INSIDE, "-v=/var/lib/docker"] if settings.has_docker(name) else list(CAPABILITIES)
    where = ["--name", container(name), "--hostname", name, "--network", NETWORK]
    if _place(name):
        where += engine.fixed_address(NETWORK, _place(name))
    # Empty until the benchmark puts its engines there: a node that measures nothing pays nothing.
    shared = settings.cache / "engines"
    shared.mkdir(parents=True, exist_ok=True)
    where.append(f"-v={shared}:/srv/mi50-lab/engines:ro")
    engine.docker("create", *where, "--label", OURS, "--label", label, *FLAGS, *inside, *extra, image_name)
    _host_key(settings, name)
    engine.docker("start", container(name))
    wait_booted(container(name))
    engine.docker("exec", container(name), "standin_devices", settings.preset(name))


def _place(name: str) -> int:
    """A number of its own for each name that the lab gives; 0 for others. The mirror's is 1 (lab/mirror/server.py)."""
    number = name.removeprefix("node")
    return 2 if name == "depot" else 10 + int(number) if number.isdigit() else 0


def cards(settings: Settings, name: str) -> int:
    """How many gfx906 cards the node's preset has, whether or not a driver is bound."""
    return sum(card.gfx_target_version == GFX906 for card in lab.sysfs.host_of(settings.preset(name)).cards)


def _host_key(settings: Settings, name: str) -> None:
    """Put the node's own host key in before its first boot."""
    private = keys.ssh(settings, name)
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in ("", ".pub"):
            copy = Path(scratch) / f"ssh_host_ed25519_key{suffix}"
            copy.write_bytes(Path(f"{private}{suffix}").read_bytes())
            copy.chmod(0o644 if suffix else 0o600)
            engine.docker("cp", str(copy), f"{container(name)}:/etc/ssh/{copy.name}")


def wait_booted(name: str) -> None:
    """Wait until systemd has finished starting; `degraded` is told with the units that failed."""
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = engine.docker("exec", name, "systemctl", "is-system-running", check=False).stdout.strip()
        if state == "running":
            return
        if state == "degraded":
            failed = engine.docker("exec", name, "systemctl", "--failed", "--plain", "--no-legend", check=False).stdout
            raise LabError(f"{name} came up degraded:\n{failed}")
        time.sleep(0.3)
    raise LabError(f"{name} did not boot within {BOOT_SECONDS} s (state {state!r})")
