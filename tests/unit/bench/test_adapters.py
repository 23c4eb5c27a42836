"""What each engine is sent: caches off, length forced where it can be, images in its own form."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.bench import prompt
from mi50.bench.adapters import adapter
from mi50.bench.adapters.base import Ask
from mi50.bench.sse import Event
from mi50.bench.wire import Endpoint

IMAGE = "data:image/png;base64,QUJD"
ASK = Ask("m", "Say ab.", "000000000007", max_tokens=9, fixed=True, sampling={"temperature": 0, "seed": 1})
TEXT = "[000000000007]\n\nSay ab."
COMMON = {
    "model": "m",
    "messages": [{"role": "user", "content": TEXT}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 9,
    "temperature": 0,
    "seed": 1,
}
VLLM = {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("openai", COMMON),
        ("llama.cpp", {**COMMON, "cache_prompt": False, "timings_per_token": True, "ignore_eos": True}),
        ("vllm", {**COMMON, "stream_options": VLLM, "cache_salt": "000000000007", "ignore_eos": True, "min_tokens": 9}),
        ("lmdeploy", {**COMMON, "return_token_ids": True, "ignore_eos": True, "min_new_tokens": 9}),
        (
            "lmstudio",
            {"model": "m", "input": TEXT, "stream": True, "store": False, "max_output_tokens": 9, "temperature": 0},
        ),
        (
            "ollama",
            {
                "model": "m",
                "messages": COMMON["messages"],
                "stream": True,
                "options": {"num_predict": 9, "temperature": 0, "seed": 1},
            },
        ),
    ],
)
def test_body(kind: str, body: dict[str, Any]) -> None:
    assert adapter(kind).body(ASK) == body


def test_natural_length_is_not_forced() -> None:
    for kind in ("llama.cpp", "vllm", "lmdeploy"):
        assert not {"ignore_eos", "min_tokens", "min_new_tokens"} & set(adapter(kind).body(Ask("m", "x", "1")))


def test_the_repeat_may_use_the_cache() -> None:
    assert adapter("llama.cpp").body(Ask("m", "x", "1", cached=True))["cache_prompt"] is True


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_images_and_system(system: str) -> None:
    """The nonce stands before the image, or in the system message that comes before both."""
    ask = Ask("m", "What is it?", "7", images=[IMAGE], system=system)
    mark = [] if system else ["[7]"]
    content = adapter("openai").body(ask)["messages"][-1]["content"]
    assert [part.get("text", IMAGE) for part in content] == [*mark, IMAGE, "What is it?"]
    assert content[-2]["image_url"] == {"url": IMAGE}
    studio = adapter("lmstudio").body(ask)
    assert [part.get("content") or part["data_url"] for part in studio["input"]] == [*mark, IMAGE, "What is it?"]
    assert studio.get("system_prompt") == ("[7]\n\nBe brief." if system else None)
    ollama = adapter("ollama").body(ask)["messages"]
    assert (ollama[-1]["images"], len(ollama)) == (["QUJD"], 2 if system else 1)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"[1]", b"null", b'{"choices":5}', b'{"choices":[7]}',
                                  b'{"choices":[{"delta":5,"finish_reason":5}]}', b'{"usage":5}'])  # fmt: skip
@pytest.mark.parametrize("kind", ["llama.cpp", "lmstudio", "vllm", "lmdeploy", "ollama", "openai"])
def test_nothing_a_server_sends_raises(kind: str, data: bytes) -> None:
    made = adapter(kind)
    assert made.read(Event(1, "", data)).t_ns == 1
    assert made.is_token(Event(1, "", data)) is False


def test_nonces_are_twelve_digits_and_differ() -> None:
    made = {prompt.nonce("run/cell", number) for number in range(1000)}
    assert len(made) == 1000
    assert all(len(nonce) == 12 and nonce.isdigit() for nonce in made)
    assert prompt.nonce("run/cell", 1) == prompt.nonce("run/cell", 1) != prompt.nonce("run/cell2", 1)


def test_filler_is_as_long_as_asked_and_differs_at_once() -> None:
    first, second = prompt.filler(500, "123456789012"), prompt.filler(500, "123456789013")
    assert len(first.split()) == len(second.split()) == 500
    assert first.split()[0] != second.split()[0]
    assert prompt.filler(0, "1") == ""


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, ""),
        ("http://h/v1/", "h", 80, ""),
        ("https://h/api/v1", "h", 443, "/api"),
        ("http://[::1]:9/x", "::1", 9, "/x"),
    ],
)
def test_addresses(url: str, host: str, port: int, prefix: str) -> None:
    found = Endpoint.parse(url, "secret")
    assert (found.host, found.port, found.prefix, found.tls) == (host, port, prefix, url.startswith("https"))
    head = found.head("POST", "/v1/chat/completions", 5)
    assert b"Authorization: Bearer secret\r\n" in head
    assert head.startswith(f"POST {prefix}/v1/chat/completions HTTP/1.1\r\n".encode())
