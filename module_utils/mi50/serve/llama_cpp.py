"""llama-server over Vulkan: its options, flags for gfx906, and what its log says of the device.

Facts: field note gfx906 5.3 and 5.4; `--no-mmap` became `--load-mode none` with b10875 (ggml-org/llama.cpp#28334), the
environment variables of both are harmless where they are not known.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from . import archive, switch, unit, vulkan, weights
from .model import LOOPBACK, Common, Definition, Device, Node, Probe, ServeError, Service

VULKAN = True
SPEC: dict[str, dict[str, Any]] = {
    "model": {"type": "path", "required": True},
    "mmproj": {"type": "path", "default": ""},
    "alias": {"type": "str", "default": ""},
    "context": {"type": "int", "default": 16384},
    "parallel": {"type": "int", "default": 1},
    "kv_type": {"type": "str", "choices": ["f16", "q8_0", "q4_0"], "default": "f16"},
    "flash_attention": {"type": "str", "choices": ["on", "off", "auto"], "default": "on"},
    "gpu_layers": {"type": "int", "default": 999},
    "mmap": {"type": "bool", "default": False},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "server": {"type": "path", "default": ""},
    "root": {"type": "path", "default": ""},
    "archive": {"type": "path", "default": ""},
    "version": {"type": "str", "default": ""},
    "sha256": {"type": "str", "default": ""},
}
HINTS = (
    (r"unknown model architecture", "this llama.cpp is older than the model: take a newer release"),
    (r"invalid argument|unknown argument", "this llama.cpp does not know a flag of llama_cpp_extra_args"),
    (r"GLIBC_[0-9.]+' not found|cannot open shared object", "the release was built for a newer system, or a library "
     "is missing: libgomp1, libvulkan1, libcurl4"),
    (r"failed to load model|error loading model", "the model file is damaged, or this llama.cpp is too old for it"),
    (r"mmproj|clip_init", "the projector does not belong to this model"),
)  # fmt: skip
# Where the key is bound to in a tree, whose own folders are read-only.
_ROOTED_KEY = "/run/mi50-aipc-key"
_LISTED = re.compile(r"^\s+([A-Za-z]+\d+): (.+) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_USING = re.compile(
    r"using device (\S+) \((.+?)\) \(([^()]*)\) - (\d+) MiB free|using device (\S+) \((.+)\) - (\d+) MiB free"
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
# What the role sets itself; given a second time it would quietly win.
_OWN = ("-m", "--model", "--host", "--port", "--api-key", "--api-key-file", "-c", "--ctx-size", "-np", "--parallel",
        "-ctk", "--cache-type-k", "-ctv", "--cache-type-v", "-fa", "--flash-attn", "-ngl", "--n-gpu-layers",
        "--mmproj", "-mm", "-a", "--alias", "--no-mmap", "--load-mode", "-lm")  # fmt: skip
MIB = 1 << 20


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    problems = _option_problems(common, options)
    server, where = _program(options, node)
    problems += where
    drivers = vulkan.manifests(common, node, options["root"])
    if not drivers:
        problems.append(vulkan.problem(options["root"]))
    verdict = weights.judge(common, _wanted(options), node, vulkan=VULKAN)
    problems += verdict.problems
    if problems or not server:
        return Definition(None, problems, verdict.warnings)
    alias = options["alias"] or _stem(options["model"])
    probe = Probe(
        kind="llama.cpp",
        url=f"http://{'127.0.0.1' if common.bind in ('0.0.0.0', '::', 'localhost') else common.bind}:{common.port}",  # noqa: S104 - compared, not bound
        model=alias,
        expected_vram=verdict.bytes if common.gpus else 0,
        floor=common.floor,
        software=common.software,
        load_timeout=common.load_timeout,
        answer_timeout=common.answer_timeout,
        interval=common.interval,
        live_timeout=common.live_timeout,
        completion_every=common.completion_every,
    )
    service = Service(
        name=common.name,
        description=f"llama.cpp's server with {alias} (Vulkan)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=probe,
        start=(server, *_arguments(common, options, alias)),
        gpus=common.gpus,
        environment=_environment(common, options, drivers),
        read=tuple(_bound(common, options)),
        write=(f"/var/lib/mi50-aipc/{common.name}", f"/var/cache/mi50-aipc/{common.name}"),
        properties=tuple(_properties(options)),
        needs=_needs(common, options, node),
        watched=tuple(path for path in (options["model"], options["mmproj"], *_installed(options, server)) if path),
        facts={
            "engine": "llama.cpp",
            "version": options["version"],
            "program": [server],
            "model": options["model"],
            "mmproj": options["mmproj"],
            "context": options["context"],
            "parallel": options["parallel"],
            "kv_type": options["kv_type"],
        },
    )
    return Definition(service, [], verdict.warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The release that is to be unpacked."""
    if not options["archive"] or node.path(service.start[0]).exists():
        return []
    return [f"unpacking {options['archive']}"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Unpack the release beside the one in use and see that it starts on this system."""
    if not pending(service, options, node):
        return
    base = archive.folder(service.name, options["version"], options["sha256"])
    archive.unpack(options["archive"], base, options["sha256"], node)
    if not archive.find(base, "llama-server", node):
        shutil.rmtree(node.path(base))
        raise ServeError(f"{options['archive']} holds no llama-server: not a release archive of llama.cpp")


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """Ask the program itself, in the service's own sandbox, which devices it would use."""
    code, said = switch.trial(service, node, [service.start[0], "--list-devices"])
    if code != 0:
        raise ServeError(f"{service.start[0]} --list-devices failed ({code}): {' '.join(said.split())[-600:]}")
    return [Device(name, int(total) * MIB) for dummy, name, total, dummy2 in _LISTED.findall(said)]


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """The devices the model was loaded on; none when no layer was put on a GPU."""
    del service_name, node
    layers = _OFFLOADED.findall(log)
    if layers and int(layers[-1][0]) == 0:
        return []
    found = []
    for match in _USING.finditer(log):
        pci = match.group(3) or ""
        device = Device(match.group(2) or match.group(6), None, pci if _PCI.fullmatch(pci) else "")
        if device not in found:
            found.append(device)
    # A build that logs less than that was asked before the start.
    return found or None


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Keep this release and the one before."""
    archive.prune(service.name, [service.start[0], *keep], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove releases, state and shader cache."""
    gone = []
    for path in (f"/opt/mi50-aipc/{name}", f"/var/lib/mi50-aipc/{name}", f"/var/cache/mi50-aipc/{name}"):
        if node.path(path).exists():
            shutil.rmtree(node.path(path))
            gone.append(path)
    return gone


def _program(options: Mapping[str, Any], node: Node) -> tuple[str, list[str]]:
    """The program's path (in the service's root), and why there is none."""
    if options["archive"] and (options["server"] or options["root"]):
        return "", ["give one of llama_cpp_archive and llama_cpp_server (with llama_cpp_root), not both"]
    if options["archive"]:
        base = archive.folder("llama_cpp", options["version"] or "local", options["sha256"])
        # Until it is unpacked: where upstream's archives have it.
        return archive.find(base, "llama-server", node) or f"{base}/llama-{options['version']}/llama-server", []
    server = options["server"] or "/usr/bin/llama-server"
    if not node.path(f"{options['root']}{server}").is_file():
        return "", [
            f"there is no {options['root']}{server}: correct llama_cpp_server, or leave it out to have a release"
        ]
    return server, []


def _installed(options: Mapping[str, Any], server: str) -> list[str]:
    return [] if options["archive"] else [f"{options['root']}{server}"]


def _environment(common: Common, options: Mapping[str, Any], drivers: Sequence[str]) -> dict[str, str]:
    found = vulkan.environment(common, drivers)
    found["LLAMA_ARG_LOAD_MODE"] = "mmap" if options["mmap"] else "none"
    if not options["mmap"]:
        found["LLAMA_ARG_NO_MMAP"] = "1"
    return {**found, **{str(name): str(value) for name, value in options["environment"].items()}}


def _arguments(common: Common, options: Mapping[str, Any], alias: str) -> list[str]:
    total = options["context"] * options["parallel"]
    found = ["--host", common.bind, "--port", str(common.port), "--api-key-file", _key(common, options)]
    found += ["-m", options["model"], "--alias", alias, "-c", str(total), "-np", str(options["parallel"])]
    found += ["-ngl", str(options["gpu_layers"]), "-fa", options["flash_attention"]]
    found += ["-ctk", options["kv_type"], "-ctv", options["kv_type"], "--jinja", "--metrics", "--slots"]
    found += ["--mmproj", options["mmproj"]] if options["mmproj"] else []
    return found + list(options["extra_args"])


def _properties(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not options["root"]:
        return []
    # A tree of another release: its own programs and libraries, this node's devices, models and directories.
    return [("RootDirectory", options["root"]), ("MountAPIVFS", "yes"), ("TemporaryFileSystem", "/var /srv /run")]


def _bound(common: Common, options: Mapping[str, Any]) -> list[str]:
    """Folders of the models, where the sandbox or the tree would hide them."""
    folders = {path.rpartition("/")[0] for path in (options["model"], options["mmproj"]) if path}
    found = sorted(name for name in folders if options["root"] or unit.hidden(name))
    return found + ([f"{common.key.path}:{_ROOTED_KEY}"] if options["root"] else [])


def _key(common: Common, options: Mapping[str, Any]) -> str:
    """The key's path as the service sees it: in a tree, where a file can be bound to."""
    return _ROOTED_KEY if options["root"] else common.key.path


def _needs(common: Common, options: Mapping[str, Any], node: Node) -> tuple[tuple[str, int], ...]:
    if not options["archive"]:
        return ()
    try:
        size = node.path(options["archive"]).stat().st_size
    except OSError:
        return ()
    return ((f"/opt/mi50-aipc/{common.name}", 5 * size),)


def _option_problems(common: Common, options: Mapping[str, Any]) -> list[str]:
    found = [
        f"llama_cpp_{name} is {options[name]}: give {low} or more"
        for name, low in (("context", 256), ("parallel", 1), ("gpu_layers", 0))
        if options[name] < low
    ]
    for word in options["extra_args"]:
        if word.partition("=")[0] in _OWN:
            found.append(f"llama_cpp_extra_args has {word}, which the role sets itself: use its variable")
    if options["flash_attention"] == "off" and options["kv_type"] != "f16":
        found.append(f"llama_cpp_kv_type {options['kv_type']} needs flash attention: llama_cpp_flash_attention: on")
    if common.bind not in LOOPBACK and "/" in common.bind:
        found.append(f"llama_cpp_bind is {common.bind}, which is no address")
    return found


def _wanted(options: Mapping[str, Any]) -> weights.Wanted:
    return weights.Wanted(
        model=options["model"],
        context=options["context"],
        projector=options["mmproj"],
        slots=options["parallel"],
        kv_type=options["kv_type"],
        layers=options["gpu_layers"],
        windowed="--swa-full" not in options["extra_args"],
    )


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
