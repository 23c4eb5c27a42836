"""LM Studio's own API, /api/v1/chat: named events, prompt processing marked by two of them.

Its tokens_per_second has no documented numerator (and its documentation's samples disagree), so that it stands in a
side column only. Nothing is documented to switch its cache off or to force a length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sse import Event
from .base import Adapter, Ask, Item, _integer

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
_DELTAS = {"message.delta": "content", "reasoning.delta": "reason", "tool_call.arguments": "tool"}


class LmStudio(Adapter):
    """Deltas are counted as they come; the totals are in chat.end."""

    kind = "lmstudio"
    path = "/api/v1/chat"

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return a stateless request of the v1 API, which knows fewer sampling fields."""
        source: Any = ask.marked_text
        if ask.images:
            source = [] if ask.system else [{"type": "text", "content": f"[{ask.nonce}]"}]
            source += [{"type": "image", "data_url": url} for url in ask.images]
            source.append({"type": "text", "content": ask.text})
        return {
            "model": ask.model,
            "input": source,
            **({"system_prompt": ask.marked_system} if ask.system else {}),
            "stream": True,
            "store": False,
            "max_output_tokens": ask.max_tokens,
            **{name: ask.sampling[name] for name in _SAMPLING if name in ask.sampling},
        }

    def chunk(self, event: Event, document: Mapping[str, Any]) -> Item:
        """Understand one named event; a server that answers in OpenAI's form is understood as well."""
        name = event.name or str(document.get("type", ""))
        if "choices" in document:
            return super().chunk(event, document)
        if name in _DELTAS:
            text = str(document.get("content") or document.get("arguments") or "")
            return Item(event.t_ns, _DELTAS[name] if text else "empty", text)
        if name != "chat.end":
            return Item(event.t_ns, "progress", server={name: event.t_ns})
        result = document.get("result")
        stats = result.get("stats") if isinstance(result, Mapping) else None
        stats = stats if isinstance(stats, Mapping) else {}
        usage = {
            "prompt_tokens": _integer(stats.get("input_tokens")),
            "completion_tokens": _integer(stats.get("total_output_tokens")),
            "completion_tokens_details": {"reasoning_tokens": _integer(stats.get("reasoning_output_tokens"))},
        }
        return Item(event.t_ns, "usage", usage=usage, finish="end", server={"stats": dict(stats)})
