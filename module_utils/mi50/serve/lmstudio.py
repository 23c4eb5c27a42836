"""LM Studio headless (llmster) over its Vulkan runtime: its options, its units, and what it says of the device.

Facts: field note gfx906 5.1 to 5.3; the command line and the survey's JSON from lmstudio-ai/lms (importCmd.ts, load.ts,
runtime/list.ts, runtime/survey.ts). Its ROCm runtime leaves gfx906 out, so Vulkan's is the only way to the GPU.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from . import archive, lmstudio_run, unit, vulkan, weights
from .model import Common, Definition, Device, File, Node, Probe, ServeError, Service

VULKAN = True
LICENCE = "https://lmstudio.ai/app-terms"
RUN = "/usr/local/lib/mi50-aipc/mi50_lmstudio_run.py"
SETTINGS = "/etc/mi50-aipc/lmstudio.json"
SOCKET = "/etc/systemd/system/mi50-lmstudio.socket"
SPEC: dict[str, dict[str, Any]] = {
    "model": {"type": "path", "required": True},
    "mmproj": {"type": "path", "default": ""},
    "alias": {"type": "str", "default": ""},
    "context": {"type": "int", "default": 16384},
    "parallel": {"type": "int", "default": 1},
    "gpu_offload": {"type": "str", "default": "max"},
    "runtime": {"type": "str", "default": "llama.cpp-linux-x86_64-vulkan-avx2"},
    "accept_licence": {"type": "bool", "default": False},
    "environment": {"type": "dict", "default": {}},
    "archive": {"type": "path", "default": ""},
    "version": {"type": "str", "default": ""},
    "sha256": {"type": "str", "default": ""},
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
_INNER_PORT = 41343
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
    alias = options["alias"] or options["model"].rpartition("/")[2].rpartition(".")[0]
    probe = Probe(
        kind="lmstudio",
        url=vulkan.address(common),
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
    program = _program(options, node)
    service = Service(
        name=common.name,
        description=f"LM Studio with {alias} (Vulkan)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=probe,
        start=("/usr/bin/python3", "-I", RUN, SETTINGS),
        gpus=common.gpus,
        environment={**vulkan.environment(common, drivers), **_own_environment(options)},
        read=_bound(options),
        write=(f"/var/lib/mi50-aipc/{common.name}", f"/var/cache/mi50-aipc/{common.name}"),
        properties=_properties(),
        unit=(("Requires", "mi50-lmstudio.socket"), ("After", "mi50-lmstudio.socket")),
        files=_files(common, options, alias, program),
        needs=_needs(common, options, node),
        watched=tuple(path for path in (options["model"], options["mmproj"]) if path),
        facts={
            "engine": "lmstudio",
            "version": options["version"],
            "program": [program],
            "model": options["model"],
            "mmproj": options["mmproj"],
            "context": options["context"],
            "parallel": options["parallel"],
            "runtime": options["runtime"],
        },
    )
    return Definition(service, [], verdict.warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The version that is to be unpacked."""
    del options
    program = service.facts["program"][0]
    return [] if node.path(program).exists() else [f"unpacking LM Studio {service.facts['version']}"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Unpack the version beside the one in use."""
    if not pending(service, options, node):
        return
    base = archive.folder(service.name, options["version"], options["sha256"])
    archive.unpack(options["archive"], base, options["sha256"], node)
    if not archive.find(base, "llmster", node):
        shutil.rmtree(node.path(base))
        raise ServeError(f"{options['archive']} holds no llmster: not a headless archive of LM Studio")


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
    gone = []
    for path in (f"/opt/mi50-aipc/{name}", f"/var/lib/mi50-aipc/{name}", f"/var/cache/mi50-aipc/{name}", RUN, SETTINGS):
        place = node.path(path)
        if place.is_dir():
            shutil.rmtree(place)
        elif place.exists():
            place.unlink()
        else:
            continue
        gone.append(path)
    return gone


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
    found += [
        f"lmstudio_{name} is {options[name]}: give {low} or more"
        for name, low in (("context", 256), ("parallel", 1))
        if options[name] < low
    ]
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


def _program(options: Mapping[str, Any], node: Node) -> str:
    base = archive.folder("lmstudio", options["version"] or "local", options["sha256"])
    return archive.find(base, "llmster", node) or f"{base}/llmster"


def _files(common: Common, options: Mapping[str, Any], alias: str, program: str) -> tuple[File, ...]:
    settings = {
        "inner_port": _INNER_PORT,
        "key_file": common.key.path,
        "llmster": program,
        "runtime": options["runtime"],
        "model": options["model"],
        "mmproj": options["mmproj"],
        "repository": _REPOSITORY.format(options["model"].rpartition("/")[2].rpartition(".")[0]),
        "identifier": alias,
        "context": options["context"],
        "parallel": options["parallel"],
        "gpu": options["gpu_offload"],
        "load_timeout": common.load_timeout,
    }
    listen = f"[{common.bind}]:{common.port}" if ":" in common.bind else f"{common.bind}:{common.port}"
    socket = (
        "# Managed by Ansible (mi50-aipc, service lmstudio); changes are overwritten.\n"
        "# The daemon has a network of its own; this is its only door, and behind it the key is looked at.\n"
        "[Unit]\nDescription=LM Studio's door\nPartOf=mi50-lmstudio.service\n\n"
        f"[Socket]\nListenStream={listen}\nNoDelay=yes\n"
    )
    return (
        File(RUN, inspect.getsource(lmstudio_run)),
        File(SETTINGS, json.dumps(settings, indent=2, sort_keys=True) + "\n"),
        File(SOCKET, socket),
    )


def _properties() -> tuple[tuple[str, str], ...]:
    return (
        ("PrivateNetwork", "yes"),
        # Node.js asks the kernel for its network interfaces.
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        ("KillMode", "mixed"),
    )


def _own_environment(options: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in options["environment"].items()}


def _bound(options: Mapping[str, Any]) -> tuple[str, ...]:
    folders = {path.rpartition("/")[0] for path in (options["model"], options["mmproj"]) if path}
    return tuple(sorted(name for name in folders if unit.hidden(name)))


def _needs(common: Common, options: Mapping[str, Any], node: Node) -> tuple[tuple[str, int], ...]:
    try:
        size = node.path(options["archive"]).stat().st_size
    except OSError:
        return ()
    # Unpacked below /opt, and what bootstrap makes of it below the service's home.
    return ((f"/opt/mi50-aipc/{common.name}", 3 * size), (f"/var/lib/mi50-aipc/{common.name}", 3 * size))
