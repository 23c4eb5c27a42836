"""Ollama over Vulkan: its options, its units, and what it says of the device.

ROCm is not offered: the last stock release whose ROCm ran on gfx906 is 0.12.4; later ones ship without its kernels and
their ggml is not compiled for it (ollama#11569, #12600, #12774). Vulkan came with 0.12.11 (`OLLAMA_VULKAN=1`).
Facts: field note gfx906 section 6; ollama/ollama v0.13.5: discover/types.go (the line `inference compute`),
envconfig/config.go, server/routes.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import archive, doored, ollama_run, parts, vulkan, weights
from .model import Common, Definition, Device, Node, Service

VULKAN = True
PROGRAM = "ollama"
SPEC: dict[str, dict[str, Any]] = {
    **parts.GGUF_SPEC,
    **parts.ARCHIVE_SPEC,
    "kv_type": {"type": "str", "choices": ["f16", "q8_0", "q4_0"], "default": "f16"},
    "flash_attention": {"type": "bool", "default": True},
    "template": {"type": "str", "default": ""},
    "server": {"type": "path", "default": ""},
}
HINTS = (
    (r"unknown model architecture|unsupported architecture", "this Ollama is older than the model: take a newer one"),
    (r"/api/create was answered with", "Ollama does not take the file: is it a GGUF of a kind that it supports?"),
    (r"GLIBC_[0-9.]+' not found|cannot open shared object", "the release was built for a newer system"),
    (r"requires more system memory|insufficient memory", "it would not fit: a shorter context or a smaller model"),
    (r"experimental Vulkan support disabled", "ollama_environment takes OLLAMA_VULKAN away"),
)  # fmt: skip
ROCM = (
    "ROCm is not offered for Ollama: the last release whose ROCm ran on gfx906 is 0.12.4, later ones delete its "
    "kernels and do not compile for it (ollama#12600); use Vulkan, as this role does, or vllm for ROCm"
)
# First release with Vulkan.
_FIRST = (0, 12, 11)
_PCI = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_COMPUTE = re.compile(r'msg="inference compute"(.*)$', re.MULTILINE)
_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|(\S*))')
# HumanBytes2 of ollama's format/bytes.go.
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    program, problems = _program(options, node)
    problems += _problems(options)
    drivers = vulkan.manifests(common, node)
    if not drivers:
        problems.append(vulkan.problem())
    verdict = weights.judge(common, _wanted(options), node, vulkan=VULKAN)
    problems += verdict.problems
    if problems:
        return Definition(None, problems, verdict.warnings)
    alias = parts.alias(options)
    settings = {name: options[name] for name in ("model", "mmproj", "context", "template")}
    service = Service(
        name=common.name,
        description=f"Ollama with {alias} (Vulkan)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=parts.probe(common, "ollama", alias, verdict.bytes),
        start=doored.start(common.name),
        gpus=common.gpus,
        environment={**vulkan.environment(common, drivers), **_own(common, options), **parts.environment(options)},
        read=parts.bound(options),
        write=parts.directories(common),
        properties=doored.properties(),
        unit=doored.ordering(common.name),
        files=doored.files(common, ollama_run, "Ollama", {**settings, "alias": alias, "ollama": program}),
        needs=parts.room(options, node, {f"/opt/mi50-aipc/{common.name}": 3}),
        watched=(*parts.files(options), *([] if options["archive"] else [program])),
        facts=parts.facts("ollama", program, options, kv_type=options["kv_type"]),
    )
    return Definition(service, [], verdict.warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The version that is to be unpacked."""
    program = service.facts["program"][0]
    there = not options["archive"] or node.path(program).exists()
    return [] if there else [f"unpacking Ollama {service.facts['version']}"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Unpack the version beside the one in use."""
    if pending(service, options, node):
        parts.unpack(service.name, PROGRAM, options, node, "an archive of Ollama for Linux")


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """It looks for devices when it serves, and only then."""
    del service, node
    return None


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """What it names as `inference compute`; none when it says that it is the CPU."""
    del service_name, node
    lines = [{name: a or b for name, a, b in _FIELD.findall(text)} for text in _COMPUTE.findall(log)]
    if not lines:
        return None
    found = []
    for line in lines:
        if line.get("library") == "cpu":
            continue
        pci = line.get("pci_id", "").lower()
        pci = (pci if pci.count(":") == 2 else f"0000:{pci}") if _PCI.fullmatch(pci) else ""
        found.append(Device(line.get("description") or line.get("name", ""), _bytes(line.get("total", "")), pci))
    return found


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Keep this version and the one before."""
    archive.prune(service.name, [service.facts["program"][0], *keep], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove versions, and the home with its store; the models in it are links."""
    return parts.cleared(name, node, doored.remains(name))


def _own(common: Common, options: Mapping[str, Any]) -> dict[str, str]:
    """What Ollama reads from its environment."""
    return {
        "OLLAMA_HOST": f"127.0.0.1:{doored.INNER_PORT}",
        "OLLAMA_MODELS": f"/var/lib/mi50-aipc/{common.name}/models",
        "OLLAMA_VULKAN": "1",
        "OLLAMA_CONTEXT_LENGTH": str(options["context"]),
        "OLLAMA_NUM_PARALLEL": str(options["parallel"]),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": f"{common.load_timeout:.0f}s",
        "OLLAMA_FLASH_ATTENTION": "1" if options["flash_attention"] else "0",
        "OLLAMA_KV_CACHE_TYPE": options["kv_type"],
        # The links are ours to remove, and nothing is fetched from anywhere.
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        # ROCm's runner, where an archive brings one, is not to try the card first.
        "HIP_VISIBLE_DEVICES": "-1",
        "ROCR_VISIBLE_DEVICES": "-1",
    }


def _program(options: Mapping[str, Any], node: Node) -> tuple[str, list[str]]:
    if options["archive"] and options["server"]:
        return "", ["give one of ollama_archive and ollama_server, not both"]
    if options["archive"]:
        return parts.program("ollama", PROGRAM, options, node, f"bin/{PROGRAM}"), []
    if not options["server"]:
        return "", ["there is no archive of Ollama: give ollama_archive or ollama_server, or leave it to the stack"]
    if not node.path(options["server"]).is_file():
        return "", [f"there is no {options['server']}: correct ollama_server, or leave it out to have a release"]
    return options["server"], []


def _problems(options: Mapping[str, Any]) -> list[str]:
    found = parts.too_low("ollama", options, {"context": 256, "parallel": 1})
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", parts.alias(options)):
        found.append(
            f"ollama_alias is {parts.alias(options)!r}: Ollama takes letters, digits, dots, dashes and underscores"
        )
    if options["kv_type"] != "f16" and not options["flash_attention"]:
        found.append(f"ollama_kv_type {options['kv_type']} needs flash attention: ollama_flash_attention: true")
    number = re.match(r"v?(\d+)\.(\d+)\.(\d+)", options["version"])
    if number and tuple(map(int, number.groups())) < _FIRST:
        found.append(f"ollama_version is {options['version']}: Vulkan came with 0.12.11. {ROCM}")
    asked = {str(name): str(value).lower() for name, value in options["environment"].items()}
    if "HSA_OVERRIDE_GFX_VERSION" in asked or "rocm" in asked.get("OLLAMA_LLM_LIBRARY", ""):
        found.append(f"ollama_environment asks for ROCm: {ROCM}")
    return found


def _wanted(options: Mapping[str, Any]) -> weights.Wanted:
    return weights.Wanted(
        model=options["model"],
        context=options["context"],
        projector=options["mmproj"],
        slots=options["parallel"],
        kv_type=options["kv_type"],
    )


def _bytes(text: str) -> int | None:
    number, dummy, unit = text.partition(" ")
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        return None
