"""From the inventory to the engines, and everything an inventory can get wrong."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.gateway.derive import Asked, Host, derive
from mi50.gateway.model import Engine

ANYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
LLAMA = {"bind": ANYWHERE, "port": 8080, "model": "/m/small.gguf", "alias": "", "api_key_file": "/k/l", "parallel": 2}
VLLM = {"bind": ANYWHERE, "port": 8000, "model": "/m/big-GPTQ", "alias": "", "api_key_file": "/k/v", "max_requests": 4}
PORTS = {"gateway_port": 8800, "gateway_metrics_port": 8405}


def host(name: str = "n1", address: str = "10.0.0.1", gateway_address: str = "", **engines: Any) -> Host:
    return Host(name, address, engines, gateway_address)


def test_engines_of_nodes_become_backends() -> None:
    found, problems = derive("gw", [host(llama_cpp=LLAMA, vllm=VLLM), host("n2", "10.0.0.2", llama_cpp=LLAMA)],
                             Asked(ports=PORTS))  # fmt: skip
    assert problems == []
    assert [Engine.of(one) for one in found] == [
        Engine("n1-llama_cpp", "n1", "llama_cpp", "10.0.0.1", 8080, ("small",), "node", "/k/l", 2),
        Engine("n1-vllm", "n1", "vllm", "10.0.0.1", 8000, ("big-GPTQ",), "node", "/k/v", 4),
        Engine("n2-llama_cpp", "n2", "llama_cpp", "10.0.0.2", 8080, ("small",), "node", "/k/l", 2),
    ]


@pytest.mark.parametrize(
    ("gateway", "options", "more", "address"),
    [
        ("gw", {"bind": ANYWHERE}, {}, "10.0.0.1"),
        ("gw", {"bind": "10.9.0.1"}, {}, "10.9.0.1"),
        ("gw", {"bind": ANYWHERE}, {"gateway_address": "10.8.0.1"}, "10.8.0.1"),
        ("n1", {"bind": "127.0.0.1"}, {}, "127.0.0.1"),
        ("n1", {"bind": ANYWHERE}, {}, "127.0.0.1"),
        ("gw", {"bind": "fd00::1"}, {}, "fd00::1"),
    ],
)
def test_where_an_engine_is_reached(gateway: str, options: dict[str, Any], more: dict[str, Any], address: str) -> None:
    found, problems = derive(gateway, [host(llama_cpp={**LLAMA, **options}, **more)], Asked())
    assert (problems, found[0]["address"]) == ([], address)


@pytest.mark.parametrize(
    ("hosts", "asked", "words"),
    [
        ([host(llama_cpp={**LLAMA, "bind": "127.0.0.1"})], {},
         ["n1: llama_cpp_bind is 127.0.0.1, which gw cannot reach", "set llama_cpp_bind"]),
        ([host(address="127.0.0.1", llama_cpp=LLAMA)], {}, ["its address is 127.0.0.1", "set gateway_address"]),
        ([host(llama_cpp=LLAMA, vllm={**VLLM, "port": 8080})], {},
         ["n1-llama_cpp and n1-vllm both claim port 8080 of n1"]),
        ([], {}, ["no node of mi50_nodes has an engine", "mi50_engines"]),
        ([host(llama_cpp=LLAMA)], {"models": ["small", "large"]},
         ["no backend for the model 'large' of gateway_models; the inventory serves small"]),
        ([host(llama_cpp={**LLAMA, "model": ""})], {}, ["llama_cpp_model is empty"]),
        ([host(llama_cpp={**LLAMA, "alias": "two words"})], {}, ["'two words' cannot be routed by", "llama_cpp_alias"]),
        ([host(llama_cpp={**LLAMA, "port": 70000})], {}, ["llama_cpp_port is 70000"]),
        ([Host("n1", "a", {}, "", ("llama_cpp_model cannot be evaluated",))], {}, ["n1: llama_cpp_model cannot be"]),
        ([], {"backends": [{"model": "x", "address": "h"}]}, ["gateway_backends[0] lacks port"]),
        ([], {"backends": [{"model": "x", "address": "h", "port": 1, "modle": "y"}]}, ["the unknown key modle"]),
        ([], {"backends": [{"model": "x", "address": "h", "port": 1, "key_file": "k"}]}, ["key_file is 'k'"]),
        ([], {"backends": ["x"]}, ["gateway_backends[0] is 'x': give a mapping"]),
        ([], {"backends": [{"model": "x", "address": "h", "port": 1}, {"model": "x", "address": "h", "port": 1,
          "name": "other"}]}, ["both claim port 1 of h"]),
        ([], {"backends": [{"model": "x", "address": "h", "port": 1, "name": "a"}, {"model": "x", "address": "h",
          "port": 2, "name": "a"}]}, ["two backends are called a"]),
        ([host("gw", llama_cpp={**LLAMA, "port": 8800})], {"ports": PORTS}, ["gateway_port is 8800, which gw-"]),
        ([host(llama_cpp=LLAMA)], {"ports": {"gateway_port": 1, "gateway_metrics_port": 1}}, ["are both 1"]),
    ],
)  # fmt: skip
def test_what_is_refused(hosts: list[Host], asked: dict[str, Any], words: list[str]) -> None:
    _, problems = derive("gw", hosts, Asked(**asked))
    text = "; ".join(problems)
    assert len(problems) == 1, text
    assert [word for word in words if word not in text] == []


def test_explicit_backends_of_one_server_are_one_engine() -> None:
    one = {"address": "10.0.0.9", "port": 9000, "key_file": "/k/x", "slots": 3}
    found, problems = derive("gw", [host(llama_cpp=LLAMA)], Asked([{**one, "model": "a"}, {**one, "model": "b"}]))
    assert problems == []
    expected = Engine("10.0.0.9-9000", "10.0.0.9-9000", "openai", "10.0.0.9", 9000, ("a", "b"), "file", "/k/x", 3)
    assert Engine.of(found[1]) == expected
