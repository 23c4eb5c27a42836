"""llama.cpp's llama-server: timings in every chunk, headers at the slot's start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Adapter, Ask, _integer


class LlamaCpp(Adapter):
    """`timings.predicted_n` counts every token, also those without text; t1 is the first chunk with one of them."""

    kind = "llama.cpp"
    t1_rule = "cumulative"
    headers_mark_prefill = True
    forces_length = True

    def body(self, ask: Ask) -> dict[str, Any]:
        """Switch the prompt cache off, except for the deliberate repeat."""
        document = super().body(ask)
        document.update(cache_prompt=ask.cached, timings_per_token=True)
        if ask.fixed:
            document["ignore_eos"] = True
        return document

    def server_part(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the timings, raw."""
        timings = document.get("timings")
        return timings if isinstance(timings, Mapping) else None

    def server_total(self, server: Mapping[str, Any] | None) -> int | None:
        """Return how many tokens were generated so far."""
        return _integer(server.get("predicted_n")) if server else None
