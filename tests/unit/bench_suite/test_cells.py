"""Cells have the shape of llm_benchmark's arguments, and the roofline's facts give the ceilings of the field notes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.mi50.bench.cells import cells, roofline
from ansible.module_utils.mi50.bench.suite import SuiteError, load_suite, select

SUITES = Path(__file__).resolve().parents[3] / "suites"
SUITE = load_suite(SUITES / "blog-2025-10.yml", "en")
GIGABYTE = 1e9


def test_both_modes_of_every_task() -> None:
    found = cells(SUITE)
    assert len(found) == 16
    natural, fixed = (next(c for c in found if c["id"] == f"algebra.{mode}") for mode in ("natural", "fixed"))
    assert natural["model"] == fixed["model"] == "qwen3-30b"
    assert natural["measure"] == {"repeats": 6, "max_repeats": 12, "warmups": 1}
    assert [check["id"] for check in natural["task"]["checks"]] == ["result", "coherent"]
    assert (natural["task"]["max_tokens"], natural["task"]["min_tokens"]) == (24576, 1)
    assert (fixed["task"]["max_tokens"], fixed["task"]["min_tokens"], fixed["task"]["checks"]) == (256, 256, [])
    assert natural["task"]["sampling"]["temperature"] == 0.6


def test_the_choice_is_kept_to() -> None:
    found = cells(select(SUITE, ["algebra", "geometry"]), modes=["fixed"])
    assert [cell["id"] for cell in found] == ["geometry.fixed", "algebra.fixed"]
    assert cells(SUITE, models=["qwen3-30b"], modes=["natural"])[0]["id"] == "algebra.natural"
    assert {cell["model"] for cell in cells(select(SUITE, kinds=["text"]), probes=["slope", "depth"])} == {"qwen3-30b"}


def test_probes_have_their_own_cells() -> None:
    found = {cell["id"]: cell for cell in cells(SUITE, models=["qwen3-30b"], probes=["slope", "depth", "concurrency"])}
    assert next(iter(found)) == "slope.fixed"
    assert found["slope.fixed"]["task"]["lengths"] == [512, 4096]
    deep = found["depth.fixed.d122880"]
    assert (deep["task"]["context"], deep["task"]["max_tokens"], deep["measure"]["repeats"]) == (122880, 256, 3)
    wide = found["concurrency.fixed.c8"]["task"]
    assert (wide["concurrency"], wide["probe"], wide["prompt"][:12]) == (8, "concurrency", "The equation")
    gemma = cells(SUITE, models=["gemma3-27b"], probes=["concurrency"])
    assert not any(cell["task"]["probe"] == "concurrency" for cell in gemma)


def test_depths_that_do_not_fit_the_context_are_left_out() -> None:
    small = {**SUITE, "models": {**SUITE["models"], "qwen3-30b": {**SUITE["models"]["qwen3-30b"], "context": 16640}}}
    found = [cell["id"] for cell in cells(small, models=["qwen3-30b"], probes=["depth"]) if "depth" in cell["id"]]
    assert found == ["depth.fixed.d512", "depth.fixed.d4096", "depth.fixed.d16384"]


def test_a_seed_gives_an_order_of_its_own_again_and_again() -> None:
    plain, first, again, other = (
        [cell["id"] for cell in cells(SUITE, probes=["slope"], seed=seed)] for seed in (None, 1, 1, 2)
    )
    assert first == again
    assert first != plain
    assert first != other
    assert sorted(first) == sorted(plain)
    assert first[0] == "slope.fixed"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"models": ["x"]}, "model 'x': no such model; one of gemma3-27b, qwen3-30b"),
        ({"modes": ["x"]}, "mode 'x': no such mode; one of natural, fixed"),
        ({"probes": ["x"]}, "probe 'x': no such probe"),
    ],
)
def test_an_unknown_choice_is_refused(choice: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        cells(SUITE, **choice)


def test_a_choice_without_cells_is_refused() -> None:
    with pytest.raises(SuiteError, match="nothing is left to measure"):
        cells(select(SUITE, kinds=["text"]), models=["gemma3-27b"])
    with pytest.raises(SuiteError, match="suite smoke has no probe 'concurrency'"):
        cells(load_suite(SUITES / "smoke.yml"), probes=["concurrency"])


@pytest.mark.parametrize(
    ("model", "depth", "gigabytes"),
    [
        ("gemma3-27b", 4096, 17.97),
        ("gemma3-27b", 131072, 28.37),
        ("qwen3-30b", 4096, 2.31),
        ("qwen3-30b", 131072, 14.8),
    ],
)
def test_the_facts_give_the_bytes_a_token_of_the_field_notes(model: str, depth: int, gigabytes: float) -> None:
    facts = roofline(SUITE, model)
    assert facts is not None
    local = min(depth, facts["window"]) * facts["kv_bytes_token_local"]
    total = facts["active_bytes"] + depth * facts["kv_bytes_token"] + local
    assert total / GIGABYTE == pytest.approx(gigabytes, rel=0.002)


def test_a_model_without_facts_has_no_roofline() -> None:
    bare = {key: value for key, value in SUITE["models"]["qwen3-30b"].items() if key != "facts"}
    assert roofline({**SUITE, "models": {"m": bare}}, "m") is None
