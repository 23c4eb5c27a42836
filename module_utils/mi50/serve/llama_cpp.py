"""llama-server over Vulkan: its options, flags for gfx906, and what its log says of the device.

Facts: field note gfx906 5.3 and 5.4; `--no-mmap` became `--load-mode none` with b10875 (ggml-org/llama.cpp#28334), the
environment variables of both are harmless where they are not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..vllm import container
from . import archive, imaged, parts, switch, vulkan, weights
from .model import Common, Definition, Device, File, Node, ServeError, Service

VULKAN = True
PROGRAM = "llama-server"
SPEC: dict[str, dict[str, Any]] = {
    **parts.GGUF_SPEC,
    **parts.ARCHIVE_SPEC,
    **imaged.SPEC,
    "kv_type": {"type": "str", "choices": ["f16", "q8_0", "q4_0"], "default": "f16"},
    "flash_attention": {"type": "str", "choices": ["on", "off", "auto"], "default": "on"},
    "gpu_layers": {"type": "int", "default": 999},
    "mmap": {"type": "bool", "default": False},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "server": {"type": "path", "default": ""},
    "root": {"type": "path", "default": ""},
    "container": {"type": "bool", "default": False},
}
HINTS = (
    (r"unknown model architecture", "this llama.cpp is older than the model: take a newer release"),
    (r"invalid argument|unknown argument", "this llama.cpp does not know a flag of llama_cpp_extra_args"),
    (r"GLIBC_[0-9.]+' not found|cannot open shared object", "the release was built for a newer system, or a library "
     "is missing: libgomp1, libvulkan1, libcurl4"),
    (r"failed to load model|error loading model", "the model file is damaged, or this llama.cpp is too old for it"),
    (r"mmproj|clip_init", "the projector does not belong to this model"),
)  # fmt: skip
# Where upstream's images have it.
_IMAGES_SERVER = "/app/llama-server"
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
    drivers: list[str] = []
    if options["container"]:
        server = options["server"] or _IMAGES_SERVER
        problems += imaged.problems(common.name, options, node)
    else:
        server, where = _program(options, node)
        drivers = vulkan.manifests(common, node, options["root"])
        problems += where + ([] if drivers else [vulkan.problem(options["root"])])
    verdict = weights.judge(common, _wanted(options), node, vulkan=VULKAN)
    problems += verdict.problems
    if problems or not server:
        return Definition(None, problems, verdict.warnings)
    alias = parts.alias(options)
    service = Service(
        name=common.name,
        description=f"llama.cpp's server with {alias} (Vulkan)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=parts.probe(common, "llama.cpp", alias, verdict.bytes),
        start=(server, *_arguments(common, options, alias)),
        gpus=common.gpus,
        environment=_environment(common, options, drivers),
        read=_bound(common, options),
        write=parts.directories(common),
        properties=tuple(_properties(options)),
        needs=parts.room(options, node, {f"/opt/mi50-aipc/{common.name}": 5}),
        watched=(*parts.files(options), *_installed(options, server)),
        facts=parts.facts("llama.cpp", server, options, kv_type=options["kv_type"]),
    )
    return Definition(_contained(service, options, node) if options["container"] else service, [], verdict.warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The image or release that is to come."""
    if options["container"]:
        return imaged.pending(options, node)
    if not options["archive"] or node.path(service.start[0]).exists():
        return []
    return [f"unpacking {options['archive']}"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Have the image, or unpack the release, beside the one in use."""
    if options["container"]:
        imaged.install(service.name, options, node)
    elif pending(service, options, node):
        parts.unpack(service.name, PROGRAM, options, node, "a release archive of llama.cpp")


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """Ask the program itself, in the service's own sandbox, which devices it would use."""
    if service.start == (imaged.start(service.name),):
        return None  # the script would put another container in the place of the one that serves
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
    """Keep this release or image and the one before."""
    kept = [service.facts["program"][0], *keep]
    archive.prune(service.name, kept, node)
    if imaged.known(service.name, node):
        imaged.prune(service.name, kept, node)


def remove(name: str, node: Node) -> list[str]:
    """Remove releases, images, state and shader cache."""
    return [*(imaged.remove(name, node) if imaged.known(name, node) else []), *parts.cleared(name, node)]


def _contained(service: Service, options: Mapping[str, Any], node: Node) -> Service:
    """The same service in a container: the unit starts its script, everything else is the contract's."""
    want = imaged.wanted(options)
    box = container.Container(
        name=service.name,
        image=want.reference,
        cache_key=imaged.cache_key(options),
        bind=service.bind,
        port=service.port,
        key_file=service.key.path,
        command=service.start,
        cards=[gpu.pci for gpu in service.gpus],
        mounts=[(path, path, False) for path in service.read],
        environment=service.environment,
        arguments=options["container_args"],
        shm="64m",
        sysfs=str(node.sysfs),
        dev=str(node.dev),
        kfd=False,
        vllm=False,
    )
    return replace(
        service,
        description=f"{service.description} (container)",
        start=(imaged.start(service.name),),
        stop=imaged.stop(service.name),
        environment={"DOCKER_CONFIG": f"/var/lib/mi50-aipc/{service.name}/docker"},
        read=(),
        properties=imaged.PROPERTIES,
        unit=imaged.UNIT,
        files=(File(imaged.start(service.name), container.script(box), 0o755),),
        needs=imaged.needs(options, node),
        facts={**service.facts, "version": want.reference, "program": [want.reference]},
    )


def _program(options: Mapping[str, Any], node: Node) -> tuple[str, list[str]]:
    """The program's path (in the service's root), and why there is none."""
    if options["archive"] and (options["server"] or options["root"]):
        return "", ["give one of llama_cpp_archive and llama_cpp_server (with llama_cpp_root), not both"]
    if options["archive"]:
        # Until it is unpacked: where upstream's archives have it.
        return parts.program("llama_cpp", PROGRAM, options, node, f"llama-{options['version']}/{PROGRAM}"), []
    server = options["server"] or f"/usr/bin/{PROGRAM}"
    if not node.path(f"{options['root']}{server}").is_file():
        return "", [
            f"there is no {options['root']}{server}: correct llama_cpp_server, or leave it out to have a release"
        ]
    return server, []


def _installed(options: Mapping[str, Any], server: str) -> list[str]:
    return [] if options["archive"] or options["container"] else [f"{options['root']}{server}"]


def _environment(common: Common, options: Mapping[str, Any], drivers: Sequence[str]) -> dict[str, str]:
    found = vulkan.environment(common, drivers)
    if options["container"]:
        # The image has drivers of its own; which of them computes is looked at when it serves.
        found = {name: value for name, value in found.items() if name not in vulkan.PATHS}
        found.update(HOME=f"{container.CACHE}/home", MESA_SHADER_CACHE_DIR=container.CACHE)
    found["LLAMA_ARG_LOAD_MODE"] = "mmap" if options["mmap"] else "none"
    if not options["mmap"]:
        found["LLAMA_ARG_NO_MMAP"] = "1"
    return {**found, **parts.environment(options)}


def _arguments(common: Common, options: Mapping[str, Any], alias: str) -> list[str]:
    total = options["context"] * options["parallel"]
    # A container listens inside; Docker publishes that at the address asked for.
    found = ["--host", "0.0.0.0" if options["container"] else common.bind, "--port", str(common.port)]  # noqa: S104
    found += ["--api-key-file", _key(common, options)]
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


def _bound(common: Common, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Folders of the models, where the sandbox, the tree or the container would hide them."""
    found = parts.bound(options, every=bool(options["root"] or options["container"]))
    return (*found, f"{common.key.path}:{_ROOTED_KEY}") if options["root"] else found


def _key(common: Common, options: Mapping[str, Any]) -> str:
    """The key's path as the service sees it: in a tree or a container, where a file can be bound to."""
    return container.KEY if options["container"] else _ROOTED_KEY if options["root"] else common.key.path


def _option_problems(common: Common, options: Mapping[str, Any]) -> list[str]:
    found = parts.too_low("llama_cpp", options, {"context": 256, "parallel": 1, "gpu_layers": 0})
    for word in options["extra_args"]:
        if word.partition("=")[0] in _OWN:
            found.append(f"llama_cpp_extra_args has {word}, which the role sets itself: use its variable")
    if options["flash_attention"] == "off" and options["kv_type"] != "f16":
        found.append(f"llama_cpp_kv_type {options['kv_type']} needs flash attention: llama_cpp_flash_attention: on")
    if "/" in common.bind:
        found.append(f"llama_cpp_bind is {common.bind}, which is no address")
    if options["container"] and (options["archive"] or options["root"]):
        found.append("llama_cpp_container takes the program from an image: leave llama_cpp_archive and _root out")
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
