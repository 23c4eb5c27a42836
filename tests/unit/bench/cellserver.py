"""llama-server with a prompt cache and small pages, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import PROPS
from .virtual import Script, Server, llamacpp

Serve = Callable[..., Server]


def words(document: dict[str, Any]) -> int:
    return len(document["messages"][0]["content"].split())


def engine(document: dict[str, Any], _number: int) -> tuple[Script, str]:
    """llama-server with a prompt cache: a token a word, 1 ms a token of prefill, 10 ms a token of decode."""
    count, cached = words(document), 0
    prefill = count
    if document["cache_prompt"]:
        cached, prefill = count - 1, 1
    made = llamacpp(count, document["max_tokens"], prefill, 10, cached=cached, text="Paris ")
    return made, "close"


PAGES = {
    "/props": PROPS,
    "/apply-template": lambda document: {"prompt": document["messages"][0]["content"]},
    "/tokenize": lambda document: {"tokens": document["content"].split()},
}
