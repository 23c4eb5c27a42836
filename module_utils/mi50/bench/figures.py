"""The server's own figures of one request, brought to one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """Seconds and tokens as the server counts them; None where it does not say.

    `exact` is false for seconds that are taken between two events of the server by the client's clock.
    """

    prefill_s: float | None = None
    decode_s: float | None = None
    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    vendor_rate: float | None = None
    drafted: int | None = None
    source: str = ""
    exact: bool = True


def _number(raw: Mapping[str, Any], name: str) -> float | None:
    value = raw.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _integer(raw: Mapping[str, Any], name: str) -> int | None:
    value = _number(raw, name)
    return None if value is None or value < 0 else round(value)


def _scaled(raw: Mapping[str, Any], name: str, scale: float) -> float | None:
    value = _number(raw, name)
    return None if value is None or value < 0 else value * scale


def from_timings(raw: Mapping[str, Any]) -> Figures:
    """Read llama.cpp's `timings`; its own rates are not used, as their definition changed between builds."""
    processed, cached = _integer(raw, "prompt_n"), _integer(raw, "cache_n")
    return Figures(
        prefill_s=_scaled(raw, "prompt_ms", 1e-3),
        decode_s=_scaled(raw, "predicted_ms", 1e-3),
        prompt=None if processed is None else processed + (cached or 0),
        cached=cached,
        completion=_integer(raw, "predicted_n"),
        drafted=_integer(raw, "draft_n"),
        source="timings",
    )


def from_metrics(raw: Mapping[str, Any]) -> Figures:
    """Read the difference of two scrapes of vLLM's or lmdeploy's /metrics with one request between them."""
    alone = _integer(raw, "requests") == 1
    return Figures(
        prefill_s=_scaled(raw, "prefill_s", 1.0) if alone else None,
        decode_s=_scaled(raw, "decode_s", 1.0) if alone else None,
        prompt=_integer(raw, "prompt_tokens"),
        cached=_integer(raw, "cached_tokens"),
        completion=_integer(raw, "completion_tokens"),
        drafted=_integer(raw, "draft_tokens"),
        source="metrics_delta",
    )


def from_lmstudio(raw: Mapping[str, Any]) -> Figures:
    """Read LM Studio's v1 stats and the two events around prompt processing (the client's clock, so not exact)."""
    stats = raw.get("stats")
    stats = stats if isinstance(stats, Mapping) else {}
    start, end = _number(raw, "prompt_processing.start"), _number(raw, "prompt_processing.end")
    return Figures(
        prefill_s=(end - start) * 1e-9 if start is not None and end is not None and end > start else None,
        vendor_rate=_number(stats, "tokens_per_second"),
        source="v1 events",
        exact=False,
    )


def from_ollama(raw: Mapping[str, Any]) -> Figures:
    """Read Ollama's durations (nanoseconds). It counts the whole prompt also when a part came from its cache."""
    return Figures(
        prefill_s=_scaled(raw, "prompt_eval_duration", 1e-9),
        decode_s=_scaled(raw, "eval_duration", 1e-9),
        prompt=_integer(raw, "prompt_eval_count"),
        completion=_integer(raw, "eval_count"),
        source="durations",
    )


def figures(kind: str, raw: Mapping[str, Any] | None) -> Figures:
    """Return the figures of an engine's raw object."""
    if not raw:
        return Figures()
    if kind == "llama.cpp":
        return from_timings(raw)
    if kind in ("vllm", "lmdeploy"):
        return from_metrics(raw)
    if kind == "lmstudio":
        return from_lmstudio(raw)
    if kind == "ollama":
        return from_ollama(raw)
    return Figures()
