"""Engines that the roles installed, as the benchmark takes them when an inventory names none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mi50 import process
from mi50.benchrun.definition import parse
from mi50.benchrun.look import INSTALLED, by_suite, engines
from mi50.serve.model import CONFIG, Gpu, Key, Node, Probe, Service
from mi50.serve.unit import configuration

SUITE = {"gemma3-27b": "gemma3:27b-it-qat", "qwen3-30b": "qwen3:30b-a3b-thinking-2507-q4_K_M"}
CARD = Gpu("0000:03:00.0", "/dev/dri/renderD128", "/dev/dri/card1", 1, 1 << 35, 1 << 35, "MI50", "113")
SERVICE = Service(
    name="llama_cpp",
    description="llama-server",
    user="mi50",
    bind="127.0.0.1",
    port=8080,
    key=Key("/etc/mi50-aipc/keys/llama_cpp"),
    probe=Probe("llama.cpp", "http://127.0.0.1:8080", "gemma-3-27b-it-q4_0"),
    start=("llama-server",),
    gpus=(CARD,),
    facts={"version": "b11211", "model": "/srv/gemma.gguf", "context": 16384, "kv_type": "q8_0", "mmproj": ""},
)
# What the roles really leave on a node.
DESCRIPTION: dict[str, Any] = json.loads(configuration(SERVICE, Node(process.run, time.monotonic, time.sleep)))


def write(folder: Path, **changes: Any) -> Path:
    content = {key: value for key, value in {**DESCRIPTION, **changes}.items() if value is not None}
    (folder / f"{content.get('name', 'x')}.json").write_text(json.dumps(content))
    return folder


def test_what_is_installed_can_be_measured(tmp_path: Path) -> None:
    (found,) = engines(write(tmp_path))
    (step,) = parse([by_suite(found, SUITE)], SUITE)
    assert step.engine == {
        "name": "llama_cpp",
        "kind": "llama.cpp",
        "url": "http://127.0.0.1:8080",
        "api_key_file": "/etc/mi50-aipc/keys/llama_cpp",
        "version": "b11211",
    }
    assert CONFIG.format("x") == f"{INSTALLED}/x.json"
    assert (step.unit, step.gpu) == ("mi50-llama_cpp.service", "0000:03:00.0")
    assert step.models["gemma3-27b"] == {
        "requested": "gemma-3-27b-it-q4_0",
        "key": "gemma3-27b",
        "file": "/srv/gemma.gguf",
        "context": 16384,
        "kv_type": "q8_0",
    }
    assert "serves no model for qwen3-30b" in step.models["qwen3-30b"]["unsupported"]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("gemma-3-27b-it-q4_0", ["gemma3-27b"]),
        ("Qwen3-30B-A3B-Thinking-2507-Q4_K_M", ["qwen3-30b"]),
        ("gemma-3-12b-it", []),
        ("qwen3-32b", []),
    ],
)
def test_a_model_counts_as_the_suites_only_by_its_name(model: str, keys: list[str]) -> None:
    made = by_suite({**DESCRIPTION, "model": {"requested": model}}, SUITE)
    assert list(made.get("models", {})) == keys
    if not keys:
        assert made["model"] == {"requested": model, "roofline": {}}, "the ceiling of another model"


@pytest.mark.parametrize(("gpus", "gpu"), [([], "none"), (["0000:03:00.0"], "0000:03:00.0"), (["a", "b"], None)])
def test_which_card_is_watched(tmp_path: Path, gpus: list[str], gpu: str | None) -> None:
    (found,) = engines(write(tmp_path, gpus=gpus))
    assert found.get("gpu") == gpu


def test_what_is_no_service_is_left_out(tmp_path: Path) -> None:
    assert engines(tmp_path / "absent") == []
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    write(tmp_path, name="odd", url=None)
    write(tmp_path)
    assert [engine["name"] for engine in engines(tmp_path)] == ["llama_cpp"]
