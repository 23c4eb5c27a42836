"""Ollama's own API, /api/chat: a JSON document a line, durations in nanoseconds in the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..sse import Event
from .base import Adapter, Ask, Item

_FIGURES = (
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
    "load_duration",
    "total_duration",
)


class Ollama(Adapter):
    """One line a token as a rule; `thinking` beside `content`."""

    kind = "ollama"
    path = "/api/chat"
    ndjson = True

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request; images are bare base64 here."""
        message: dict[str, Any] = {"role": "user", "content": ask.marked_text}
        system = [{"role": "system", "content": ask.marked_system}] if ask.system else []
        if ask.images:
            message["images"] = [url.partition(",")[2] for url in ask.images]
        return {
            "model": ask.model,
            "messages": [*system, message],
            "stream": True,
            "options": {"num_predict": ask.max_tokens, **ask.sampling},
        }

    def chunk(self, event: Event, document: Mapping[str, Any]) -> Item:
        """Understand one line."""
        message = document.get("message")
        kind, text = self.classify(message if isinstance(message, Mapping) else {})
        if not document.get("done"):
            return Item(event.t_ns, "empty" if kind == "role" else kind, text)
        usage = {
            "prompt_tokens": document.get("prompt_eval_count"),
            "completion_tokens": document.get("eval_count"),
        }
        figures = {name: document[name] for name in _FIGURES if name in document}
        finish = str(document.get("done_reason") or "stop")
        return Item(event.t_ns, kind if text else "usage", text, usage=usage, finish=finish, server=figures)
