"""llama-server as units on the nodes: `mi50-lab-llama-cpu` and `mi50-lab-llama-vulkan`, and the engines they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import engine
from lab.engines import archives, models, tree
from lab.nodes import container
from lab.settings import LabError, Settings

MOUNT = "/srv/mi50-lab/engines"
CONTEXT = 8192
NEEDED_GIB = 3.0


@dataclass(frozen=True)
class Server:
    """One llama-server."""

    name: str
    port: int
    backend: str
    arguments: tuple[str, ...]
    model: models.Model = models.SMOLLM

    @property
    def unit(self) -> str:
        """Its unit's name."""
        return f"mi50-lab-{self.name}.service"


# One thread: with two, a single other process on a machine of two cores makes them wait for each other.
SERVERS = (
    Server("llama-cpu", 8081, "cpu", ("-dev", "none", "-t", "1")),
    # Eight tokens at a time: more take another shader, which llvmpipe runs ten times as slowly. Pictures are encoded on
    # the CPU: on software Vulkan one takes a minute.
    Server(
        "llama-vulkan",
        8082,
        "vulkan",
        ("-dev", "Vulkan0", "-ngl", "99", "-t", "2", "-b", "8", "-ub", "8", "--no-mmproj-offload"),
    ),
)
UNIT = """\
[Unit]
Description=Lab: llama-server of Debian unstable ({name})

[Service]
RootDirectory={tree}
MountAPIVFS=yes
BindReadOnlyPaths={models}:/srv/models
TemporaryFileSystem=/tmp /run
User=nobody
Group=nogroup
CacheDirectory=mi50-lab-mesa
# llvmpipe is a device for the CPU, which llama.cpp passes over unless it is named.
Environment=GGML_VK_VISIBLE_DEVICES=0 MESA_SHADER_CACHE_DIR=/var/cache/mi50-lab-mesa HOME=/tmp
ExecStart=/usr/bin/llama-server --host 127.0.0.1 --port {port} -m /srv/models/{model} --mmproj /srv/models/{projector} \
-c {context} -np 1 --cache-ram 0 --metrics {arguments}
"""


def ensure(settings: Settings) -> None:
    """Tree, models and units on every node of the lab."""
    if not any(tree.folder(settings).glob("tree-*")) and tree.free_gib(settings) < NEEDED_GIB:
        raise LabError(
            f"the engines need {NEEDED_GIB:.0f} GiB in {settings.cache}, {tree.free_gib(settings):.1f} are free"
        )
    root, model = tree.ensure(settings), models.ensure(settings)
    for name in settings.node_names():
        _install(container(name), root, model)


def provide(settings: Settings) -> dict[str, str]:
    """Tree, models and stand-ins' archives in the cache; where a node sees them, and the folder to mount at MOUNT."""
    root, model = tree.ensure(settings), models.ensure(settings)
    llmster, ollama = (
        archives.ensure(settings, want, f"{MOUNT}/{root.name}") for want in (archives.LMSTUDIO, archives.OLLAMA)
    )
    return {
        "engines": str(tree.folder(settings)),
        "tree": f"{MOUNT}/{root.name}",
        "models": f"{MOUNT}/{model.name}",
        "llmster": f"{MOUNT}/{llmster.relative_to(tree.folder(settings))}",
        "ollama": f"{MOUNT}/{ollama.relative_to(tree.folder(settings))}",
    }


def _install(name: str, root: Path, model: Path) -> None:
    for server in SERVERS:
        text = unit(server, f"{MOUNT}/{root.name}", f"{MOUNT}/{model.name}")
        engine.docker("exec", "-i", name, "tee", f"/etc/systemd/system/{server.unit}", data=text)
    engine.docker("exec", name, "systemctl", "daemon-reload")


def unit(server: Server, root: str, model: str) -> str:
    """The text of a server's unit; `root` and `model` are folders on the node."""
    return UNIT.format(
        name=server.name,
        tree=root,
        models=model,
        port=server.port,
        model=server.model.file,
        projector=server.model.projector,
        context=CONTEXT,
        arguments=" ".join(server.arguments),
    )


def chosen(names: tuple[str, ...]) -> tuple[Server, ...]:
    """The servers of those names."""
    return tuple(server for server in SERVERS if server.name in names)


def engines(servers: tuple[Server, ...] = SERVERS) -> list[dict[str, Any]]:
    """`benchmark_engines` of the lab: the same small model under every key of a suite."""
    return [
        {
            "name": server.name,
            "kind": "llama.cpp",
            "url": f"http://127.0.0.1:{server.port}",
            "unit": server.unit,
            "backend": server.backend,
            "model": _model(server.model),
        }
        for server in servers
    ]


def _model(model: models.Model) -> dict[str, Any]:
    return {
        "requested": model.file,
        "file": f"/srv/models/{model.file}",
        "sha256": model.sha256,
        "bytes": model.bytes,
        "format": model.format,
        "context": CONTEXT,
        # The ceiling of an MI50 says nothing about this machine's processor.
        "roofline": {},
    }
