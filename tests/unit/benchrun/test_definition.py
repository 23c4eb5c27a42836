"""Engines as an inventory describes them: what becomes of good ones, and what is said of bad ones."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.benchrun.definition import DefinitionError, kind_of, parse, units
from mi50.benchrun.plan import Choice, cells

SUITE = {"gemma": "gemma3:27b", "qwen": "qwen3:30b"}


def engine(**changes: Any) -> dict[str, Any]:
    base = {"name": "one", "kind": "llama.cpp", "url": "http://127.0.0.1:8080", "model": "m"}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def test_one_model_serves_all_keys() -> None:
    (step,) = parse([engine(unit="mi50-llama_cpp.service")], SUITE)
    assert step.engine == {"name": "one", "kind": "llama.cpp", "url": "http://127.0.0.1:8080"}
    assert step.unit == "mi50-llama_cpp.service"
    assert {key: model["requested"] for key, model in step.models.items()} == {"gemma": "m", "qwen": "m"}


def test_a_unit_a_model_gives_a_step_a_unit() -> None:
    models = {"gemma": "g", "qwen": {"requested": "q", "unit": "b.service", "url": "http://127.0.0.1:8081/"}}
    steps = parse([engine(model=None, models=models, unit="a.service")], SUITE)
    assert [(s.unit, s.engine["url"], list(s.models)) for s in steps] == [
        ("a.service", "http://127.0.0.1:8080", ["gemma"]),
        ("b.service", "http://127.0.0.1:8081", ["qwen"]),
    ]
    assert units(steps) == ["a.service", "b.service"]


def test_a_model_that_is_not_served_is_no_hole_in_the_table() -> None:
    (step,) = parse([engine(model=None, models={"qwen": "q"})], SUITE)
    assert "serves no model for gemma" in step.models["gemma"]["unsupported"]
    assert "unsupported" not in step.models["qwen"]


@pytest.mark.parametrize("alias", ["llama_cpp", "llamacpp", "llama.cpp"])
def test_names_of_an_adapter(alias: str) -> None:
    assert kind_of(alias) == "llama.cpp"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, ("benchmark_engines is None", "list")),
        ([], ("benchmark_engines is []", "no engine of this repository's roles is installed")),
        (["vllm"], ("benchmark_engines[1] is 'vllm'", "mapping")),
        ([engine(name=None)], ("benchmark_engines[1] has no name",)),
        ([engine(name="a b")], ("'a b'", "file name")),
        ([engine(name="../x")], ("file name",)),
        ([engine(), engine()], ("'one' is there twice",)),
        ([engine(kind="tgi")], ("kind 'tgi'", "vllm")),
        ([engine(url=None)], ("engine 'one' has no url",)),
        ([engine(url="127.0.0.1:8080")], ("'127.0.0.1:8080'", "http://HOST:PORT")),
        ([engine(url="http://127.0.0.1:x")], ("cannot be read",)),
        ([engine(url="http://127.0.0.1:1/v1/")], ("/v1: leave that out",)),
        ([engine(url="http://me:secret@127.0.0.1:1")], ("//***@127.0.0.1", "api_key_file")),
        ([engine(model=None)], ("either model", "models")),
        ([engine(models={"gemma": "g"})], ("either model", "models")),
        ([engine(model=None, models={"llama": "g"})], ("no 'llama'", "gemma, qwen")),
        ([engine(model={"file": "/x"})], ("no requested",)),
        ([engine(model="")], ("model is empty",)),
        ([engine(model={"requested": "x", "unsupported": True})], ("not the reason in words",)),
        ([engine(unit="mi50-vllm")], ("'mi50-vllm'", "mi50-vllm.service")),
        ([engine(api_key="s3cret")], ("'api_key' is unknown", "api_key_file")),
        ([engine(api_key_file="key")], ("not an absolute path",)),
        ([engine(gpu=3)], ("PCI address",)),
    ],
)
def test_a_bad_definition_is_named(raw: object, words: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(raw, SUITE)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "secret" not in str(caught.value)


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse([engine(kind="tgi", url="ftp://x"), engine(name="two", unit=7)], SUITE)
    assert str(caught.value).count(";") == 2


def suite_cell(**task: Any) -> dict[str, Any]:
    base = {"id": "t", "prompt": "p", "lang": "en", "max_tokens": 256, "min_tokens": 256, "context": 0, "lengths": []}
    return {
        "id": "t.fixed",
        "model": "gemma",
        "task": {**base, "system": "", **task},
        "measure": {"repeats": 6, "max_repeats": 12, "warmups": 1},
        "roofline": {"active_bytes": 1},
    }


def test_a_choice_changes_cells() -> None:
    (step,) = parse([engine()], SUITE)
    (cell,) = cells(step, [suite_cell()], Choice(repeats=2, max_tokens=64, measure={"thermal": "off"}))
    assert cell["measure"] == {"repeats": 2, "max_repeats": 2, "warmups": 1, "thermal": "off"}
    assert (cell["task"]["max_tokens"], cell["task"]["min_tokens"]) == (64, 64)
    assert "system" not in cell["task"]
    assert cell["model"]["roofline"] == {"active_bytes": 1}


def test_nothing_chosen_keeps_the_suite() -> None:
    (step,) = parse([engine()], SUITE)
    (cell,) = cells(step, [suite_cell()], Choice())
    assert cell["measure"] == {"repeats": 6, "max_repeats": 12, "warmups": 1}
    assert cell["task"]["max_tokens"] == 256


def test_an_engine_with_another_model_says_its_own_facts() -> None:
    (step,) = parse([engine(model={"requested": "m", "roofline": {}})], SUITE)
    (cell,) = cells(step, [suite_cell()], Choice())
    assert "roofline" not in cell["model"]


@pytest.mark.parametrize(("context", "fits"), [(8192, True), (4096, False)])
def test_a_depth_beyond_the_context_is_unsupported(context: int, fits: bool) -> None:
    (step,) = parse([engine(model={"requested": "m", "context": context})], SUITE)
    (cell,) = cells(step, [suite_cell(context=4096, prompt="")], Choice())
    assert ("unsupported" not in cell["model"]) is fits
    assert cell["task"]["prompt"], "a probe needs something that follows its filler"
