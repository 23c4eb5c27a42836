"""One adapter an engine: what is sent, how its stream is read, what its server tells about a request."""

from __future__ import annotations

from .base import Adapter
from .llamacpp import LlamaCpp
from .lmstudio import LmStudio
from .ollama import Ollama
from .openai import Lmdeploy, OpenAi, Vllm

_ADAPTERS: dict[str, type[Adapter]] = {
    adapter.kind: adapter for adapter in (LlamaCpp, LmStudio, Vllm, Lmdeploy, Ollama, OpenAi)
}


def adapter(kind: str) -> Adapter:
    """Return the adapter of an engine. Raises ValueError for an unknown kind."""
    if kind not in _ADAPTERS:
        raise ValueError(f"engine kind {kind!r} is unknown; known are {', '.join(_ADAPTERS)}")
    return _ADAPTERS[kind]()
