"""LM Studio headless (llmster) over its Vulkan runtime: its options, its units, and what it says of the device.

Facts: field note gfx906 5.1 to 5.3; the command line and the survey's JSON from lmstudio-ai/lms (importCmd.ts, load.ts,
runtime/list.ts, runtime/survey.ts). Its ROCm runtime leaves gfx906 out, so Vulkan's is the only way to the GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import archive, doored, lmstudio_run, parts, vulkan, weights
from .model import Common, Definition, Device, Node, Service

VULKAN = True
LICENCE = "https://lmstudio.ai/app-terms"
PROGRAM = "llmster"
SPEC: dict[str, dict[str, Any]] = {
    **parts.GGUF_SPEC,
    **parts.ARCHIVE_SPEC,
    "gpu_offload": {"type": "str", "default": "max"},
    "runtime": {"type": "str", "default": "llama.cpp-linux-x86_64-vulkan-avx2"},
    "accept_licence": {"type": "bool", "default": False},
}
HINTS = (
    (r"the runtime .* is not installed", "the archive has another runtime than lmstudio_runtime: take one that is "
     "there (`lms runtime ls` as the service's user), or the .full archive of LM Studio"),
    (r"libatomic|libgomp|cannot open shared object", "a library is missing: libatomic1, libgomp1"),
    (r"Illegal instruction|SIGILL", "LM Studio's runtimes need a processor with AVX2"),
    (r"Model not found", "LM Studio does not know the imported model: is it a GGUF of a kind that it supports?"),
)  # fmt: skip
_GUI = re.compile(r"(^|/)(lm-?studio|LM[ -]Studio)[^/\0]*(\0|$)", re.IGNORECASE)
_DEVICES = re.compile(r"^devices: (\[.*\])$", re.MULTILINE)
# Like a user and a repository of the hub, which is how LM Studio names models.
_REPOSITORY = "mi50-aipc/{}"


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    problems = _problems(options, node)
    drivers = vulkan.manifests(common, node)
    if not drivers:
        problems.append(vulkan.problem())
    verdict = weights.judge(common, _wanted(options), node, vulkan=VULKAN)
    problems += verdict.problems
    if problems:
        return Definition(None, problems, verdict.warnings)
    alias, program = parts.alias(options), parts.program(common.name, PROGRAM, options, node)
    service = Service(
        name=common.name,
        description=f"LM Studio with {alias} (Vulkan)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=parts.probe(common, "lmstudio", alias, verdict.bytes),
        start=doored.start(common.name),
        gpus=common.gpus,
        environment={**vulkan.environment(common, drivers), **parts.environment(options)},
        read=parts.bound(options),
        write=parts.directories(common),
        properties=doored.properties(),
        unit=doored.ordering(common.name),
        files=doored.files(common, lmstudio_run, "LM Studio", _settings(options, alias, program)),
        # Unpacked below /opt, and what bootstrap makes of it below the service's home.
        needs=parts.room(options, node, {f"/opt/mi50-aipc/{common.name}": 3, f"/var/lib/mi50-aipc/{common.name}": 3}),
        watched=parts.files(options),
        facts=parts.facts("lmstudio", program, options, runtime=options["runtime"]),
    )
    return Definition(service, [], verdict.warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The version that is to be unpacked."""
    del options
    program = service.facts["program"][0]
    return [] if node.path(program).exists() else [f"unpacking LM Studio {service.facts['version']}"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Unpack the version beside the one in use."""
    if pending(service, options, node):
        parts.unpack(service.name, PROGRAM, options, node, "a headless archive of LM Studio")


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """A second daemon beside the one that serves would disturb it: it is asked when it runs."""
    del service, node
    return None


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """What the selected runtime surveyed, as `lmstudio_run` wrote it down."""
    del service_name, node
    found = _DEVICES.findall(log)
    if not found:
        return None
    return [Device(str(row["name"]), int(row["memory"]) if row["memory"] else None) for row in json.loads(found[-1])]


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Keep this version and the one before."""
    archive.prune(service.name, [service.facts["program"][0], *keep], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove versions, and the home with its settings; the models in it are links."""
    return parts.cleared(name, node, doored.remains(name))


def _problems(options: Mapping[str, Any], node: Node) -> list[str]:
    found = []
    if not options["accept_licence"]:
        found.append(
            f"LM Studio is proprietary: read its terms ({LICENCE}) and set lmstudio_accept_licence: true, or use "
            "llama_cpp, its open counterpart"
        )
    if not options["archive"]:
        found.append("there is no archive of LM Studio: give lmstudio_archive, or leave lmstudio_url to the stack")
    if not re.fullmatch(r"max|off|0(\.\d+)?|1(\.0+)?", options["gpu_offload"]):
        found.append(f"lmstudio_gpu_offload is {options['gpu_offload']!r}: give max, off, or a share from 0 to 1")
    if "rocm" in options["runtime"].lower():
        found.append(
            f"lmstudio_runtime is {options['runtime']}: LM Studio's ROCm runtime leaves gfx906 out, take Vulkan's"
        )
    found += parts.too_low("lmstudio", options, {"context": 256, "parallel": 1})
    return found + _windows(node)


def _windows(node: Node) -> list[str]:
    """LM Studio with a window, which the daemon cannot run beside."""
    for folder in sorted(node.proc.glob("[0-9]*")):
        try:
            first = (folder / "cmdline").read_bytes().decode(errors="replace").partition("\0")[0]
        except OSError:
            continue
        if _GUI.search(first) and "lmster" not in first:
            return [
                f"LM Studio runs with a window (process {folder.name}, {first}): close it, the daemon cannot run "
                "beside it"
            ]
    return []


def _wanted(options: Mapping[str, Any]) -> weights.Wanted:
    whole = options["gpu_offload"] in ("max", "1", "1.0")
    return weights.Wanted(
        model=options["model"],
        context=options["context"],
        projector=options["mmproj"],
        slots=options["parallel"],
        layers=999 if whole else 0,
    )


def _settings(options: Mapping[str, Any], alias: str, program: str) -> dict[str, Any]:
    return {
        "llmster": program,
        "runtime": options["runtime"],
        "model": options["model"],
        "mmproj": options["mmproj"],
        "repository": _REPOSITORY.format(parts.stem(options["model"])),
        "identifier": alias,
        "context": options["context"],
        "parallel": options["parallel"],
        "gpu": options["gpu_offload"],
    }
