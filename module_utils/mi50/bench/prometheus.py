"""Reads vLLM's and lmdeploy's /metrics: with one request in flight, the difference of two scrapes is that request's.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/; names: vllm/v1/metrics/loggers.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Optional

from .http1 import ProtocolError
from .wire import Endpoint, fetch

_LINE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(\{[^}]*\})?\s+([0-9eE+.\-]+|NaN|[+-]?Inf)", re.ASCII)

# What a record calls it -> the metric's name behind the engine's prefix, several where versions differ.
_NAMES: dict[str, tuple[str, ...]] = {
    "requests": ("request_prefill_time_seconds_count",),
    "prefill_s": ("request_prefill_time_seconds_sum",),
    "decode_s": ("request_decode_time_seconds_sum",),
    "queue_s": ("request_queue_time_seconds_sum",),
    "prompt_tokens": ("prompt_tokens_total",),
    "completion_tokens": ("generation_tokens_total",),
    "cached_tokens": ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total", "cached_tokens_total"),
    "mm_cache_hits": ("mm_cache_hits_total",),
    "preemptions": ("num_preemptions_total",),
    "draft_tokens": ("spec_decode_num_draft_tokens_total",),
}
_SETTLE_S = 3.0

Scrape = dict[str, float]
# Returns the metrics' text, None when there is none.
Getter = Callable[[], Optional[str]]


def parse(text: str) -> Scrape:
    """Return name -> value, series of one name added up. Lines that are none are passed over."""
    found: Scrape = {}
    for line in text.splitlines():
        matched = _LINE.match(line)
        if matched:
            try:
                found[matched.group(1)] = found.get(matched.group(1), 0.0) + float(matched.group(3))
            except ValueError:
                continue
    return found


def figures(scrape: Mapping[str, float], prefix: str) -> Scrape:
    """Return what the records keep, by their names."""
    chosen: Scrape = {}
    for name, candidates in _NAMES.items():
        value = next((scrape[prefix + item] for item in candidates if prefix + item in scrape), None)
        if value is not None:
            chosen[name] = value
    return chosen


def getter(endpoint: Endpoint) -> Getter:
    """Return a function that scrapes a server."""

    def get() -> str | None:
        try:
            status, body = fetch(endpoint, "/metrics", timeout=5.0)
        except (OSError, ProtocolError):
            return None
        return body.decode("utf-8", "replace") if status == 200 else None

    return get


class Delta:
    """Takes the difference over one request."""

    def __init__(self, get: Getter, prefix: str) -> None:
        """Scrape before the request."""
        self._get, self._prefix = get, prefix
        self._before = self._scrape()

    def _scrape(self) -> Scrape | None:
        text = self._get()
        return None if text is None else figures(parse(text), self._prefix)

    def finish(self, settle_s: float = _SETTLE_S) -> dict[str, float] | None:
        """Scrape until the request is counted (the server counts it after its last byte); None without metrics."""
        if not self._before:
            return None
        until = time.monotonic() + settle_s
        while True:
            after = self._scrape() or {}
            delta = {name: after[name] - value for name, value in self._before.items() if name in after}
            if delta.get("requests", 0) >= 1 or time.monotonic() >= until:
                return delta
            time.sleep(0.05)


def kv_tokens(text: str | None, prefix: str) -> int | None:
    """Return the KV cache's capacity in tokens out of vLLM's cache_config_info; None where it is not told."""
    labels = re.search(re.escape(prefix) + r"cache_config_info\{([^}]*)\}", text or "")
    found = dict(re.findall(r'(\w+)="([^"]*)"', labels.group(1))) if labels else {}
    blocks, size = found.get("num_gpu_blocks", ""), found.get("block_size", "")
    return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else None
