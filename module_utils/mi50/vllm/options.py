"""Options of vLLM as `llm_service` takes them, and what its log says when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..serve import pyenv
from . import cluster, guard

SPEC: dict[str, dict[str, Any]] = {
    "mode": {"type": "str", "choices": ["container", "build"], "default": "container"},
    "model": {"type": "path", "required": True},
    "alias": {"type": "str", "default": ""},
    "context": {"type": "int", "default": 16384},
    "max_requests": {"type": "int", "default": 4},
    "dtype": {"type": "str", "default": "float16"},
    "kv_type": {"type": "str", "default": "auto"},
    "tensor_parallel": {"type": "int", "default": 0},
    "pipeline_parallel": {"type": "int", "default": 1},
    "expert_parallel": {"type": "bool", "default": False},
    "memory_share": {"type": "float", "default": 0.92},
    "trust_remote_code": {"type": "bool", "default": False},
    "extra_args": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "container_args": {"type": "list", "elements": "str", "default": []},
    "shm": {"type": "str", "default": "8g"},
    "image": {"type": "str", "default": ""},
    "image_digest": {"type": "str", "default": ""},
    "image_archive": {"type": "path", "default": ""},
    "image_archive_sha256": {"type": "str", "default": ""},
    "image_bytes": {"type": "int", "default": 40000000000},
    **pyenv.SPEC,
    **cluster.SPEC,
}
HINTS = (
    (r"out of memory|No available memory for the cache blocks|larger than the available KV cache memory",
     "the cards' memory is not enough: less vllm_context or vllm_max_requests, more vllm_memory_share, more cards"),
    (r"Model architectures? .* (?:not|failed)|not supported for now|Cannot find model module",
     "this vLLM does not know the model's architecture: take a newer image, or another model"),
    (r"float16 is not supported for quantization|[Uu]nknown quantization method|quantization .* not supported",
     "this vLLM does not serve that quantisation: take a GPTQ or AWQ version"),
    (r"does not support dtype|float16 .* numerical instability",
     "the model is not served in float16 by this image: take an image with the clamp, or vllm_dtype: float32"),
    (r"No module named .?mi50_key", "the image does not look into PYTHONPATH: another image is needed"),
    (r"unrecognized arguments", "this vLLM does not know a flag of vllm_extra_args"),
    (r"Unable to open /dev/kfd|hipErrorNoDevice|No HIP GPUs are available|Failed to infer device type",
     "no card can be opened in the container: are the numbers of render and video those of /dev/kfd's group?"),
    (r"hipErrorNoBinaryForGpu|invalid device function|TensileLibrary",
     "the image's libraries have no kernels for gfx906: take one that was made for it"),
    (r"NCCL|RCCL",
     "the cards do not talk to each other: iommu=pt on the kernel's command line, or vllm_pipeline_parallel"),
    (r"mi50_cluster: waiting: the head",
     "the first node of vllm_cluster does not run, or its port is closed to this one: deploy all nodes in one run"),
    (r"mi50_cluster: waiting",
     "the nodes named there were not deployed in the same run, or their ports are closed to this one"),
    (r"Version mismatch: The cluster was started with",
     "the nodes run different images: the same vllm_image_digest on all of them"),
    (r"Cannot connect to the Docker daemon|permission denied while trying to connect",
     "Docker does not run here: systemctl start docker"),
)  # fmt: skip


def settings_of(options: Mapping[str, Any], cards: int) -> guard.Settings:
    """Fill in what is 0: all cards of a node side by side, as many as pipelines leave; nodes one after another."""
    nodes = max(1, len(options.get("cluster") or {}))
    pipeline = options["pipeline_parallel"]
    pipeline = nodes if pipeline == 1 else pipeline
    return guard.Settings(
        tensor=options["tensor_parallel"] or max(1, max(1, cards) * nodes // max(1, pipeline)),
        pipeline=pipeline,
        context=options["context"],
        requests=options["max_requests"],
        dtype=options["dtype"],
        kv_type=options["kv_type"],
        expert_parallel=options["expert_parallel"],
        trust_remote_code=options["trust_remote_code"],
        nodes=nodes,
        extra=tuple(options["extra_args"]),
    )


def problems(options: Mapping[str, Any], settings: guard.Settings, cards: int) -> list[str]:
    """Say what of the options makes no sense on that many cards (of this node)."""
    found = []
    if cards and settings.tensor * settings.pipeline != cards * settings.nodes:
        where = f", {cards} on each of {settings.nodes} nodes" if settings.nodes > 1 else f", {cards}"
        found.append(
            f"vllm_tensor_parallel {settings.tensor} times vllm_pipeline_parallel {settings.pipeline} is not the "
            f"number of cards{where}: name the cards in vllm_gpus, or change one of them"
        )
    if settings.nodes > 1 and settings.tensor > max(1, cards):
        found.append(
            f"vllm_tensor_parallel {settings.tensor} would share each layer between nodes, over their network: give "
            f"{max(1, cards)} or less, and let nodes follow one another (vllm_pipeline_parallel)"
        )
    if not 0.3 <= options["memory_share"] <= 0.98:
        found.append(f"vllm_memory_share is {options['memory_share']}: give 0.3 to 0.98")
    secret = [key for key in options["environment"] if "API_KEY" in str(key).upper() or "TOKEN" in str(key).upper()]
    if secret:
        found.append(
            f"vllm_environment has {', '.join(secret)}: whoever reads `docker inspect` would know it; use vllm_api_key"
        )
    return found
