"""Any OpenAI-compatible server, and the two whose fields go a little beyond that: vLLM and lmdeploy."""

from __future__ import annotations

from typing import Any

from .base import Adapter, Ask


class OpenAi(Adapter):
    """Only what the API's definition has; caches are avoided by the nonce alone."""

    kind = "openai"


class Vllm(Adapter):
    """vLLM V1: per-chunk counts, cache_salt, and exact seconds of a lone request from /metrics.

    The role chunk comes with the engine's first output, while a reasoning parser may swallow the first tokens:
    so it is t1. Headers come at once and say nothing about prefill.
    """

    kind = "vllm"
    t1_rule = "role"
    forces_length = True
    metrics_prefix = "vllm:"

    def body(self, ask: Ask) -> dict[str, Any]:
        """Isolate the prefix cache with a salt: not a token of the prompt changes by it."""
        document = super().body(ask)
        document["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        document["cache_salt"] = ask.nonce or "mi50-bench"
        if ask.fixed:
            document.update(ignore_eos=True, min_tokens=ask.max_tokens)
        return document


class Lmdeploy(Adapter):
    """lmdeploy: token ids a chunk; a placeholder delta without text carries tokens."""

    kind = "lmdeploy"
    t1_rule = "cumulative"
    forces_length = True
    metrics_prefix = "lmdeploy:"

    def body(self, ask: Ask) -> dict[str, Any]:
        """Ask for token ids; its prefix cache is off unless asked for, the nonce does the rest."""
        document = super().body(ask)
        document["return_token_ids"] = True
        if ask.fixed:
            document.update(ignore_eos=True, min_new_tokens=ask.max_tokens)
        return document
