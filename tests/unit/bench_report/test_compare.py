"""Verdicts follow from intervals; what must not be compared is invalid or has no partner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchreport.compare import FASTER, INCONCLUSIVE, INVALID, SLOWER, Comparison, compare, tables
from benchreport.records import ReportError, read
from benchreport.rows import Row, rows
from tests.unit.bench_report.made_up import MadeUp


def measured(folder: Path, edit: Any = None, **changes: Any) -> list[Row]:
    path = MadeUp(**{"tasks": ["algebra"], **changes}).write(folder)
    if edit:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            edit(line)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return rows(read([folder]))


def verdicts(comparison: Comparison) -> dict[tuple[str, str], str]:
    return {(pair.key[6], pair.metric): pair.verdict for pair in comparison.pairs}


def against(tmp_path: Path, edit: Any = None, across: tuple[str, ...] = (), **changes: Any) -> Comparison:
    before = measured(tmp_path / "a")
    return compare(before, measured(tmp_path / "b", edit, **{"run_id": "2026-11-23-b", "seed": 2, **changes}), across)


@pytest.mark.parametrize(
    ("decode", "verdict"), [(24.0, INCONCLUSIVE), (24.1, INCONCLUSIVE), (30.0, FASTER), (20.0, SLOWER)]
)
def test_only_separate_intervals_decide(tmp_path: Path, decode: float, verdict: str) -> None:
    found = against(tmp_path, decode=decode)
    assert verdicts(found) == {
        (mode, metric): verdict if metric == "dc_srv" else INCONCLUSIVE
        for mode in ("fixed", "natural")
        for metric in ("pf_srv", "dc_srv")
    }
    pair = next(pair for pair in found.pairs if pair.metric == "dc_srv")
    assert pair.ratio == pytest.approx(decode / 24.0, rel=0.02)
    assert pair.ratio_low is not None
    assert pair.ratio_high is not None
    assert pair.ratio_low < pair.ratio < pair.ratio_high


def test_without_an_interval_nothing_is_decided(tmp_path: Path) -> None:
    found = against(tmp_path, decode=48.0, reps=3)
    assert set(verdicts(found).values()) == {INCONCLUSIVE}
    assert found.pairs[0].reason == "no interval: 3 in B, six are needed"


def test_a_cell_that_failed_is_invalid(tmp_path: Path) -> None:
    found = against(tmp_path, statuses={"qwen3-30b.algebra.fixed": ("OOM", "out of memory")})
    by_mode = {pair.key[6]: pair for pair in found.pairs if pair.metric == "dc_srv"}
    assert (by_mode["fixed"].verdict, by_mode["fixed"].reason) == (INVALID, "B is OOM")
    assert by_mode["natural"].verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("prompt_sha256", "5" * 64, "the task's text or picture changed"),
        ("image_sha256", [], "the task's text or picture changed"),
        ("max_tokens", 128, "256 tokens in A, 128 in B"),
    ],
)
def test_another_question_is_no_comparison(tmp_path: Path, key: str, value: object, reason: str) -> None:
    def change(line: dict[str, Any]) -> None:
        if line["type"] == "cell" and line["task"]["mode"] == "fixed":
            line["task"][key] = value

    pair = next(pair for pair in against(tmp_path, change, decode=48.0).pairs if pair.key[6] == "fixed")
    assert (pair.verdict, pair.reason) == (INVALID, reason)


@pytest.mark.parametrize(
    ("group", "key", "value", "condition", "words"),
    [
        ("gpu", "driver", "7.0", "driver", "kernel driver: "),
        ("gpu", "rocm", "7.1.0", "driver", "ROCm: "),
        ("gpu", "power_cap_w", 178, "power", "power cap: 225 W, 178 W"),
        ("gpu", "sclk_max_mhz", 1485, "clocks", "core clock at most: "),
        ("gpu", "vbios", "113-other", "clocks", "VBIOS: "),
        ("gpu", "name", "Radeon VII", "gpu", "card: "),
        ("gpu", "power_cap_w", None, "power", "power cap: 225 W, not known"),
        ("framework", "backend_reported", "vulkan (radv)", "backend", "backend: "),
        ("model", "kv_type", "q8_0", "kv", "type of the KV cache: "),
        ("model", "mmproj_sha256", "7" * 64, "weights", "projector's sha256: "),
    ],
)
def test_other_conditions_get_no_verdict_unless_allowed(
    tmp_path: Path, group: str, key: str, value: object, condition: str, words: str
) -> None:
    def change(line: dict[str, Any]) -> None:
        if group in line:
            line[group] = {**line[group], key: value} if isinstance(line[group], dict) else line[group]

    found = against(tmp_path, change, decode=48.0)
    assert set(verdicts(found).values()) == {INVALID}
    assert all(pair.reason.startswith(f"{condition} differs ({words}") for pair in found.pairs), found.pairs[0].reason
    assert "to allow it" in found.pairs[0].reason
    before, after = rows(read([tmp_path / "a"])), rows(read([tmp_path / "b"]))
    assert verdicts(compare(before, after, [condition]))["fixed", "dc_srv"] == FASTER


def test_a_node_with_other_work_gets_no_verdict(tmp_path: Path) -> None:
    def busy(line: dict[str, Any]) -> None:
        if line["type"] == "run":
            line["node"]["load1"] = 2.5 * line["node"]["cpus"]

    found = against(tmp_path, busy, decode=20.0)
    assert set(verdicts(found).values()) == {INVALID}
    assert found.pairs[0].reason == (
        "the node had other work (B: load 40 on 16 processors); compare across=load to allow it"
    )
    before, after = rows(read([tmp_path / "a"])), rows(read([tmp_path / "b"]))
    assert verdicts(compare(before, after, ["load"]))["fixed", "dc_srv"] == SLOWER


def test_another_definition_has_no_partner(tmp_path: Path) -> None:
    def renumber(line: dict[str, Any]) -> None:
        if line["type"] == "cell":
            line["metrics"]["dc_srv"]["formula"] = "DC_srv@2"
        elif line["type"] == "request":
            line["derived"]["dc_srv"]["formula"] = "DC_srv@2"

    # Without its raw streams a run keeps the definitions that it was recorded with.
    found = against(tmp_path, renumber)
    assert all(pair.metric != "dc_srv" for pair in found.pairs)
    assert {key[-1] for key in found.only_before} == {"DC_srv@1"}
    assert {key[-1] for key in found.only_after} == {"DC_srv@2"}
    lines = tables(found)[1].rows
    assert [line[-1].text for line in lines if line[-2].text == INVALID][:1] == ["only in A (DC_srv@1)"]


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("commit", {"commit": "deadbeef"}),
        ("node", {"node": "node7"}),
        ("engine", {"engine": "vllm"}),
        ("weights", {"weights": "7"}),
    ],
)
def test_a_part_of_the_key_is_left_out_only_when_asked(tmp_path: Path, part: str, changes: dict[str, str]) -> None:
    strict = against(tmp_path, **changes)
    assert strict.pairs == []
    assert strict.hint == f"nothing matches, because {part} differs everywhere; compare across={part}"
    before, after = rows(read([tmp_path / "a"])), rows(read([tmp_path / "b"]))
    assert len(compare(before, after, [part]).pairs) == 4


def test_only_known_parts_can_be_left_out() -> None:
    with pytest.raises(
        ReportError,
        match="across: 'task' is none of node, gpu, engine, commit, weights, driver, power",
    ):
        compare([], [], ["task"])


def test_the_environment_s_differences_come_first(tmp_path: Path) -> None:
    def another(line: dict[str, Any]) -> None:
        if line["type"] == "run":
            line["gpu"]["power_cap_w"] = 178
            line["node"]["governor"] = "powersave"

    found = tables(against(tmp_path, another))
    assert found[0].id == "differences"
    assert [[value.text for value in line] for line in found[0].rows] == [
        ["node1 · llama.cpp", "power cap", "225 W", "178 W"],
        ["node1 · llama.cpp", "governor", "performance", "powersave"],
    ]
    same = tables(against(tmp_path / "same"))[0]
    assert (same.rows, same.about) == ([], "No difference in what is recorded of the environment.")


def test_a_cell_measured_twice_counts_with_its_later_run(tmp_path: Path) -> None:
    before = measured(tmp_path / "a")
    measured(tmp_path / "b", run_id="2026-11-23-b", decode=20.0)
    after = measured(tmp_path / "b", run_id="2026-11-23-c", decode=30.0, hours=3)
    assert verdicts(compare(before, after))["fixed", "dc_srv"] == FASTER
