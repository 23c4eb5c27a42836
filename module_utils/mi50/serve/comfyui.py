"""ComfyUI on ROCm through torch: its unit and flags for gfx906, and what its log says of the device.

Facts: field note gfx906 section 6 (mixa3607's measurements: quad cross attention is best, half precision alone since
bf16 and fp8 are emulated); comfyanonymous/ComfyUI: comfy/cli_args.py, comfy/model_management.py (the log's lines),
folder_paths.py and extra_model_paths.yaml.example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..addresses import loopback
from . import parts, pictures, unit, upscaler
from .model import Common, Definition, Device, File, Later, Node, Service

VULKAN = False
# On the node: this project's own folder of models, with the network of the check.
CHECKED = "/usr/local/lib/mi50-aipc/mi50_comfyui/models"
PATHS = "/etc/mi50-aipc/comfyui-paths.yaml"
_FOLDERS = (
    "checkpoints clip clip_vision configs controlnet diffusion_models embeddings hypernetworks loras style_models "
    "text_encoders unet upscale_models vae"
)
ATTENTION = {
    "quad": "--use-quad-cross-attention",
    "split": "--use-split-cross-attention",
    "pytorch": "--use-pytorch-cross-attention",
}
SPEC: dict[str, dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "python": {"type": "path", "required": True},
    "models": {"type": "path", "default": ""},
    "attention": {"type": "str", "choices": [*ATTENTION], "default": "quad"},
    "half": {"type": "bool", "default": True},
    "vram": {"type": "str", "choices": ["auto", "high", "low", "none"], "default": "auto"},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
}
HINTS = (
    (r"No module named '?([\w.]+)", "a package of requirements.txt is missing in the environment: run the role again"),
    (r"TensileLibrary|hipErrorNoBinaryForGpu|invalid device function", "torch's rocBLAS has no gfx906 kernels: role "
     "pytorch, --tags pytorch_verify"),
    (r"unrecognized arguments", "this ComfyUI does not know a flag of comfyui_extra_args"),
    (r"MIOpen", "MIOpen failed: its cache in /var/cache/mi50-aipc/comfyui may be damaged, remove it"),
)  # fmt: skip
_OWN = ("--listen", "--port", "--base-directory", "--extra-model-paths-config", "--cpu", *ATTENTION.values())
_DEVICE = re.compile(r"^.*Device: (\S+)(?: (.*?))?(?: : \w+)?$", re.MULTILINE)
_MEMORY = re.compile(r"Total VRAM (\d+) MB")
_VRAM = {"auto": (), "high": ("--highvram",), "low": ("--lowvram",), "none": ("--novram",)}


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service. It computes on one card: the first of those that were chosen."""
    problems = _problems(common, options, node)
    if problems:
        return Definition(None, problems, [])
    chosen = common.gpus[:1]
    ignored = [gpu.pci for gpu in common.gpus[1:]]
    warnings = [f"ComfyUI computes on one card, {chosen[0].pci}; not used: {', '.join(ignored)}"] if ignored else []
    home, cache = parts.directories(common)
    service = Service(
        name=common.name,
        description="ComfyUI (ROCm through torch)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=replace(parts.probe(common, "comfyui", "ComfyUI", 0, device=""), floor=0.0),
        start=(options["python"], f"{options['source']}/main.py", *_arguments(common, options, home)),
        gpus=chosen,
        devices=(str(node.dev / "kfd"),) if chosen else (),
        environment={**_environment(home, cache), **parts.environment(options)},
        read=(options["models"],) if options["models"] and unit.hidden(options["models"]) else (),
        write=(home, cache),
        properties=(("WorkingDirectory", home), ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK")),
        files=(File(PATHS, _paths(options)),),
        watched=(f"{options['source']}/main.py", f"{options['source']}/requirements.txt", *_torch(options)),
        facts={"engine": "ComfyUI", "version": options["source"].rpartition("/")[2], "program": [options["source"]]},
    )
    return Definition(service, [], warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The network that the check runs."""
    del service, options
    path = node.path(f"{CHECKED}/upscale_models/{pictures.MODEL}")
    same = path.is_file() and path.read_bytes() == upscaler.network()
    return [] if same else ["writing the network of the check"]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Write the network of the check; ComfyUI itself is the role's."""
    if pending(service, options, node):
        path = node.path(f"{CHECKED}/upscale_models/{pictures.MODEL}")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(upscaler.network())
        path.chmod(0o644)


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """Not asked: it would have to load torch."""
    del service, node
    return None


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """What torch computes on; none when that is the CPU."""
    del service_name, node
    found = _DEVICE.findall(log)
    if not found:
        return None
    kind, name = found[-1]
    memory = _MEMORY.findall(log)
    return [Device(name or kind, int(memory[-1]) << 20 if memory else None)] if kind.startswith("cuda") else []


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Sources are the role's; the one before stays."""
    del service, node, keep


def remove(name: str, node: Node) -> list[str]:
    """Remove sources, settings, pictures and caches; models stay, and so does the environment of torch."""
    return parts.cleared(name, node, (CHECKED.rpartition("/")[0], PATHS))


def _problems(common: Common, options: Mapping[str, Any], node: Node) -> list[str]:
    found: list[str] = []
    if not node.path(f"{options['source']}/main.py").is_file():
        found.append(Later(f"there is no ComfyUI in {options['source']} (main.py): the role fetches it"))
    if not node.path(options["python"]).exists():
        found.append(Later(f"there is no {options['python']}: the role pytorch makes the environment"))
    if options["models"] and not node.path(options["models"]).is_dir():
        found.append(f"comfyui_models is {options['models']}, which is no folder on this node")
    if not loopback(common.bind):
        found.append(
            f"comfyui_bind is {common.bind}: ComfyUI asks for no key, and who reaches it may run workflows and read "
            f"pictures. Leave it on 127.0.0.1 and come through ssh -L {common.port}:127.0.0.1:{common.port}, or "
            "through a proxy that asks who it is"
        )
    if common.key.given:
        found.append("ComfyUI knows no API key: it answers on loopback alone")
    for word in options["extra_args"]:
        if word.partition("=")[0] in _OWN:
            found.append(f"comfyui_extra_args has {word}, which the role sets itself: use its variable")
    return found


def _arguments(common: Common, options: Mapping[str, Any], home: str) -> list[str]:
    found = ["--listen", common.bind, "--port", str(common.port), "--base-directory", home]
    found += ["--extra-model-paths-config", PATHS, "--disable-auto-launch", ATTENTION[options["attention"]]]
    found += ["--force-fp16"] if options["half"] else []
    found += _VRAM[options["vram"]]
    return found + (["--cpu"] if not common.gpus else []) + list(options["extra_args"])


def _environment(home: str, cache: str) -> dict[str, str]:
    return {
        "HOME": home,
        "XDG_CACHE_HOME": cache,
        # The first run of a convolution tunes it for minutes: that must outlive the service.
        "MIOPEN_USER_DB_PATH": f"{cache}/miopen",
        "MIOPEN_CUSTOM_CACHE_DIR": f"{cache}/miopen",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


def _paths(options: Mapping[str, Any]) -> str:
    """Folders of models, as YAML (JSON is YAML): this project's own, and the user's."""
    content: dict[str, dict[str, str]] = {"mi50_check": {"base_path": CHECKED, "upscale_models": "upscale_models"}}
    if options["models"]:
        content["models"] = {"base_path": options["models"], **{name: name for name in _FOLDERS.split()}}
    return "# Managed by Ansible (mi50-aipc, service comfyui)\n" + json.dumps(content, indent=1) + "\n"


def _torch(options: Mapping[str, Any]) -> tuple[str, ...]:
    """What changes when the environment's torch does: ROOT/comfyui/bin/python has ROOT/torch beside it."""
    root = options["python"].rpartition("/bin/")[0].rpartition("/")[0]
    return (f"{root}/torch/.mi50-torch.json",) if root else ()
