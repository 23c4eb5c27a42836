"""The engines, by the name of their role."""

from __future__ import annotations

from typing import cast

from . import comfyui, llama_cpp, lmdeploy, lmstudio, ollama, vllm
from .model import Engine

# A module is an Engine: its functions and constants are what the protocol asks for.
ENGINES: dict[str, Engine] = {
    "comfyui": cast(Engine, comfyui),
    "llama_cpp": cast(Engine, llama_cpp),
    "lmdeploy": cast(Engine, lmdeploy),
    "lmstudio": cast(Engine, lmstudio),
    "ollama": cast(Engine, ollama),
    "vllm": cast(Engine, vllm),
}
