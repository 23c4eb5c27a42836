"""A model as its publisher's folder: config.json and safetensors, for the engines that read those."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from ..models import errors, fit, remote
from ..models.shape import Model
from ..vllm.guard import Settings
from .model import Common, Later, Node

# What such an engine takes on a card besides weights and cache: activations, graphs, libraries.
_OVERHEAD = 2 << 30


def read(path: str, engine: str, node: Node) -> tuple[Model | None, dict[str, Any], list[str]]:
    """The model's layers and configuration, and what is wrong with its files. `engine` is its name for people."""
    folder, name = node.path(path), PurePosixPath(path).name
    if not folder.exists():
        return None, {}, [Later(f"there is no {path} on this node: have the role models fetch it")]
    if folder.is_file() or (not (folder / remote.CONFIG).exists() and any(folder.glob("*.gguf"))):
        return (
            None,
            {},
            [f"{path} is GGUF, which {engine} serves slowly and in part: use llama_cpp, or safetensors"],
        )
    try:
        model = remote.local(folder, name)
        config = json.loads((folder / remote.CONFIG).read_text(encoding="utf-8"))
    except (errors.ModelError, OSError, ValueError) as error:
        return None, {}, [str(error)]
    return model, config, []


def fits(common: Common, settings: Settings, model: Model, share: float) -> tuple[list[str], list[str]]:
    """Whether one request of full length fits beside the weights, the others wait: what is tight, what is wrong."""
    if not common.gpus or common.software:
        return [], []
    ask = fit.Ask(settings.context, tensor=settings.tensor, pipeline=settings.pipeline, overhead=_OVERHEAD)
    try:
        verdict = fit.judge(model, ask, [int(gpu.vram * share) for gpu in common.gpus])
    except errors.ModelError as error:
        return [], [str(error)]
    if not verdict.ok:
        return [], [f"{common.name}_context: {verdict.text}"]
    return ([f"it will be tight: {verdict.text}"] if verdict.tight else []), []
