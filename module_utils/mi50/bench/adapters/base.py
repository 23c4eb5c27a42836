"""What all adapters share: the request's OpenAI form, and the reading of chat completion chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..sse import COMMENT, Event
from ..wire import DONE

# The names under which engines stream thinking; llama.cpp, LM Studio, lmdeploy; vLLM; Ollama's own API.
REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Ask:
    """One request as the measurement wants it; images are data URLs."""

    model: str
    text: str
    nonce: str
    images: Sequence[str] = ()
    max_tokens: int = 256
    fixed: bool = False
    cached: bool = False  # let the server use its caches: for the deliberate repeat
    sampling: Mapping[str, Any] = field(default_factory=dict)
    system: str = ""

    @property
    def mark(self) -> str:
        """Return the nonce as it stands at the beginning of what is sent."""
        return f"[{self.nonce}]\n\n" if self.nonce else ""

    @property
    def marked_system(self) -> str:
        """Return the system message with the nonce: it comes first, so that the nonce belongs there."""
        return self.mark + self.system

    @property
    def marked_text(self) -> str:
        """Return the user's text with the nonce, when there is no system message to carry it."""
        return self.text if self.system else self.mark + self.text


@dataclass(frozen=True)
class Item:
    """One event, understood. `total` is the count of tokens generated so far, where the server tells it.

    kind: role, reason, content, tool, empty, usage, ping, progress, error or done.
    """

    t_ns: int
    kind: str
    text: str = ""
    total: int | None = None
    added: int | None = None
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    server: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def carries(self) -> bool:
        """Tell whether text of the model came with it."""
        return self.kind in ("reason", "content", "tool")


def error_text(document: object) -> str | None:
    """Return the message of an error body of any of the engines, None where there is none."""
    if not isinstance(document, Mapping):
        return None
    error = document.get("error")
    if error is None and document.get("object") == "error":
        error = document
    if not error:
        return None
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("type") or json.dumps(error))[:500]
    return str(error)[:500]


def _delta_text(delta: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the text under the first of the names that has any: an engine may send it under two at once."""
    for name in names:
        value = delta.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Adapter:
    """The OpenAI form without anything an engine adds."""

    kind = "openai"
    path = "/v1/chat/completions"
    ndjson = False
    # cumulative: the first event with a count of one or more; text: the first with text; role: the role chunk, which
    # vLLM sends together with the engine's first output.
    t1_rule = "text"
    # Whether response headers are sent when prefill begins, so that t1 - th is prefill's duration.
    headers_mark_prefill = False
    forces_length = False
    # What the server's figures are deltas of, for one request in flight.
    metrics_prefix = ""

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request's JSON document."""
        document: dict[str, Any] = {
            "model": ask.model,
            "messages": self.messages(ask),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": ask.max_tokens,
            **ask.sampling,
        }
        return document

    def messages(self, ask: Ask) -> list[dict[str, Any]]:
        """Return the messages: the nonce first, so that no engine's prefix cache goes beyond the template."""
        system = [{"role": "system", "content": ask.marked_system}] if ask.system else []
        return [*system, {"role": "user", "content": self.content(ask)}]

    def content(self, ask: Ask) -> str | list[dict[str, Any]]:
        """Return the user's message: text, or the nonce, the images and the text."""
        if not ask.images:
            return ask.marked_text
        parts: list[dict[str, Any]] = [{"type": "text", "text": f"[{ask.nonce}]"}] if not ask.system else []
        parts += [{"type": "image_url", "image_url": {"url": url}} for url in ask.images]
        return [*parts, {"type": "text", "text": ask.text}]

    def is_token(self, event: Event) -> bool:
        """Tell, while the stream runs, whether the first token has come; afterwards nobody asks."""
        item = self.read(event)
        return item.carries or bool(item.total) or bool(item.added)

    def read(self, event: Event) -> Item:
        """Understand one event. Nothing a server sends raises."""
        if event.name == COMMENT:
            return Item(event.t_ns, "ping")
        if event.data == DONE:
            return Item(event.t_ns, "done")
        try:
            document = json.loads(event.data)
        except ValueError:
            return Item(event.t_ns, "error", error=f"no JSON: {event.data[:200]!r}")
        if not isinstance(document, dict):
            return Item(event.t_ns, "error", error=f"no JSON object: {event.data[:200]!r}")
        message = error_text(document)
        if message is None and event.name == "error":
            message = str(document.get("message") or document)[:500]
        if message is not None:
            return Item(event.t_ns, "error", error=message)
        return self.chunk(event, document)

    def chunk(self, event: Event, document: Mapping[str, Any]) -> Item:
        """Understand one chat completion chunk."""
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else None
        usage = document.get("usage")
        usage = usage if isinstance(usage, Mapping) else None
        total = _integer(usage.get("completion_tokens")) if usage else None
        server = self.server_part(document)
        total = self.server_total(server) if self.server_total(server) is not None else total
        if choice is None:
            kind = "progress" if "prompt_progress" in document else "usage"
            return Item(event.t_ns, kind, total=total, usage=usage, server=server)
        delta = choice.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        finish = choice.get("finish_reason")
        ids = choice.get("token_ids") or choice.get("output_ids") or delta.get("output_ids")
        kind, text = self.classify(delta)
        if "prompt_progress" in document:
            kind = "progress"
        return Item(
            event.t_ns,
            kind,
            text,
            total=total,
            added=len(ids) if isinstance(ids, list) else None,
            finish=finish if isinstance(finish, str) and finish else None,
            usage=usage,
            server=server,
        )

    @staticmethod
    def classify(delta: Mapping[str, Any]) -> tuple[str, str]:
        """Return the kind and the text of a delta."""
        content = _delta_text(delta, ("content",))
        reason = _delta_text(delta, REASONING)
        if content:
            return "content", content
        if reason:
            return "reason", reason
        if delta.get("tool_calls"):
            return "tool", json.dumps(delta["tool_calls"], ensure_ascii=False)
        return ("role", "") if delta.get("role") else ("empty", "")

    def server_part(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the engine's own figures of a chunk."""
        del document
        return None

    def server_total(self, server: Mapping[str, Any] | None) -> int | None:
        """Return the tokens generated so far by the engine's own figures."""
        del server
        return None
