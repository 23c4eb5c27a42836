"""Asks a server what it is: version, model, context, slots, backend; and whether its template is what it seems."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..addresses import anywhere, loopback
from . import host
from .http1 import ProtocolError
from .settings import Call
from .wire import Endpoint, fetch


@dataclass
class Identity:
    """What a server says of itself; None where it says nothing."""

    reachable: bool = False
    version: str | None = None
    served: str | None = None
    file: str | None = None
    context: int | None = None
    slots: int | None = None
    template_sha256: str | None = None
    n_params: int | None = None
    bytes: int | None = None
    kv_tokens: int | None = None
    models: list[str] = field(default_factory=list)
    pid: int | None = None
    process: host.Process | None = None
    cmdline: list[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    backend: str | None = None


def ask(endpoint: Endpoint, path: str, document: Mapping[str, Any] | None = None, timeout: float = 10.0) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON answer, None for anything else than 200 and JSON. Never raises for what a server does."""
    body = None if document is None else json.dumps(document).encode()
    try:
        status, data = fetch(endpoint, path, body, timeout)
        return json.loads(data) if status == 200 else None
    except (OSError, ProtocolError, ValueError):
        return None


def _dig(document: object, *names: str | int) -> Any:  # noqa: ANN401 - any JSON
    for name in names:
        if isinstance(document, Mapping):
            document = document.get(str(name))
        elif isinstance(document, list) and isinstance(name, int) and len(document) > name:
            document = document[name]
        else:
            return None
    return document


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def identify(call: Call, endpoint: Endpoint, roots: host.Roots) -> Identity:
    """Ask the server, and look at its process when it runs on this host."""
    found = Identity()
    models = ask(endpoint, "/v1/models")
    found.reachable = models is not None
    rows = _dig(models, "data")
    rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    found.models = [str(row.get("id")) for row in rows]
    wanted = call.model.get("requested")
    row = next((row for row in rows if row.get("id") == wanted), rows[0] if len(rows) == 1 else {})
    found.served = str(row["id"]) if row.get("id") else None
    found.context = _integer(row.get("max_model_len"))
    found.n_params, found.bytes = _integer(_dig(row, "meta", "n_params")), _integer(_dig(row, "meta", "size"))
    if call.engine["kind"] == "llama.cpp":
        _llamacpp(found, ask(endpoint, "/props"))
    elif call.engine["kind"] in ("vllm", "lmdeploy", "ollama"):
        path = "/api/version" if call.engine["kind"] == "ollama" else "/version"
        found.version = _dig(ask(endpoint, path), "version")
    elif call.engine["kind"] == "lmstudio":
        _lmstudio(found, ask(endpoint, "/api/v1/models"), wanted)
    _process(found, call, endpoint, roots)
    found.version = call.engine.get("version") or found.version
    return found


def _llamacpp(found: Identity, props: object) -> None:
    template = _dig(props, "chat_template")
    found.version = _dig(props, "build_info")
    found.file = _dig(props, "model_path")
    found.slots = _integer(_dig(props, "total_slots"))
    found.context = _integer(_dig(props, "default_generation_settings", "n_ctx")) or found.context
    found.template_sha256 = hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else None


def _lmstudio(found: Identity, models: object, wanted: str | None) -> None:
    rows = _dig(models, "models")
    for row in rows if isinstance(rows, list) else []:
        if _dig(row, "key") == wanted:
            found.served = str(wanted)
            found.bytes = _integer(_dig(row, "size_bytes"))
            found.context = _integer(_dig(row, "loaded_instances", 0, "config", "context_length"))


def _process(found: Identity, call: Call, endpoint: Endpoint, roots: host.Roots) -> None:
    local = loopback(endpoint.host) or anywhere(endpoint.host)
    found.pid = call.engine.get("pid") or (host.listener(roots, endpoint.port) if local else None)
    if found.pid is None:
        return
    found.process = host.process(roots, found.pid)
    found.cmdline = host.command_line(roots, found.pid)
    found.environment = host.environment(roots, found.pid)
    found.backend = host.backend(roots, found.pid)


def framework_record(call: Call, found: Identity, t1_rule: str, headers: bool) -> dict[str, Any]:
    """Return the framework's record; the address without anything but host and port."""
    parts = urlsplit(call.engine["url"])
    return {
        "name": call.engine_name,
        "kind": call.engine["kind"],
        "url": f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":"),
        "version": found.version,
        "commit": call.engine.get("commit"),
        "image_digest": call.engine.get("image_digest"),
        "cmdline": found.cmdline,
        "env_allowlist": found.environment,
        "backend_reported": found.backend,
        "pid": found.pid,
        "slots": found.slots,
        "t1_rule": t1_rule,
        "prefill_clock": "headers" if headers else "slope",
    }


def model_record(call: Call, found: Identity) -> dict[str, Any]:
    """Return the model's record: what the caller knows of the file, and what the server says."""
    model = call.model
    size = model.get("bytes") or found.bytes
    file = model.get("file") or found.file
    params = found.n_params
    return {
        "key": call.model_key,
        "requested": str(model.get("requested") or ""),
        "served": found.served,
        "file": Path(file).name if file else None,
        "sha256": model.get("sha256"),
        "bytes": size,
        "format": model.get("format"),
        "bpw": model.get("bpw") or (size * 8 / params if size and params else None),
        "kv_type": model.get("kv_type"),
        "mmproj_sha256": model.get("mmproj_sha256"),
        "ctx_effective": found.context,
        "template_sha256": found.template_sha256,
        "n_params": params,
    }


def count_tokens(endpoint: Endpoint, kind: str, text: str, model: str) -> int | None:
    """Return how many tokens the server makes of a text; None where it does not tell."""
    if kind == "llama.cpp":
        tokens = _dig(
            ask(endpoint, "/tokenize", {"content": text, "add_special": True, "parse_special": True}), "tokens"
        )
        return len(tokens) if isinstance(tokens, list) else None
    if kind == "vllm":
        return _integer(_dig(ask(endpoint, "/tokenize", {"model": model, "prompt": text}), "count"))
    return None


def template_check(endpoint: Endpoint, kind: str, content: str, prompt_tokens: int | None) -> dict[str, Any] | None:
    """Compare the tokens of the server's own rendering of the prompt with those that it processed.

    `--chat-template gemma` under jinja takes the word as the template's text: each prompt became 3 tokens.
    """
    if kind != "llama.cpp" or prompt_tokens is None:
        return None
    messages = {"messages": [{"role": "user", "content": content}]}
    rendered = _dig(ask(endpoint, "/apply-template", messages), "prompt")
    if not isinstance(rendered, str):
        return None
    expected = count_tokens(endpoint, kind, rendered, "")
    contains = content.strip()[:40] in rendered
    good = contains and expected is not None and abs(expected - prompt_tokens) <= 1
    why = (
        "" if contains else "; the rendered prompt does not contain the message (is --chat-template a name or a text?)"
    )
    return {"ok": good, "detail": f"{prompt_tokens} prompt tokens, /apply-template gives {expected}{why}"}
