"""What the tables say: failures by name, other weights on other lines, formulas on every column of figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mi50.bench.formulas import FORMULAS

from benchreport import blog, content, detail, environment
from benchreport.figures import FORMULAS_HERE
from benchreport.records import read
from benchreport.rows import Row, rows
from benchreport.tables import Table, digits
from tests.unit.bench_report.made_up import MadeUp


def line(table: Table, *beginning: str) -> list[str]:
    """The texts of the line whose first cells are these."""
    return next(
        [value.text for value in cells]
        for cells in table.rows
        if [v.text for v in cells[: len(beginning)]] == [*beginning]
    )


def test_the_blog_table_has_tasks_as_lines_and_engines_as_groups(fleet_rows: list[Row]) -> None:
    first, second = blog.tables(fleet_rows)
    assert (first.title, second.title) == ("Speed of the tasks on node1", "Speed of the tasks on node2")
    assert [column.group for column in first.columns] == ["", "", *["llama.cpp b6795"] * 4, *["vllm b6795"] * 4]
    assert [column.title for column in first.columns[2:6]] == ["prefill", "decode", "VRAM", "answers right"]
    assert [cells[0].detail for cells in first.rows] == [
        *("image-recognition", "picture-story", "geometry", "text-extraction"),
        *("algebra", "gaokao-essay", "front-end-page", "task-plan"),
    ]


def test_speed_comes_from_the_fixed_mode_and_checks_from_the_natural(tmp_path: Path) -> None:
    made = MadeUp(tasks=["algebra"], statuses={"qwen3-30b.algebra.natural": ("TRUNCATED", "cut at 4096 tokens")})
    made.write(tmp_path)
    (table,) = blog.tables(rows(read([tmp_path])))
    cells = table.rows[0]
    assert cells[2].kind == "number"
    assert float(cells[3].text) == pytest.approx(24 * 2.6, rel=0.02)
    assert (cells[5].text, cells[5].kind, cells[5].note) == ("TRUNCATED", "status", "cut at 4096 tokens")


def test_a_failed_cell_shows_its_status_and_reason_and_no_figure(fleet_rows: list[Row]) -> None:
    table = blog.tables(fleet_rows)[0]
    cells = next(cells for cells in table.rows if cells[0].detail == "geometry")
    assert [(value.text, value.kind) for value in cells[6:8]] == [("OOM", "status")] * 2
    assert cells[6].note == "HIP out of memory: tried to allocate 2.1 GiB"
    assert cells[6].detail == "0/6 OK"


def test_clocks_that_disagree_leave_a_figure_that_does_not_count(fleet_rows: list[Row]) -> None:
    table = blog.tables(fleet_rows)[0]
    cells = next(cells for cells in table.rows if cells[0].detail == "task-plan")
    assert cells[7].text == "DISAGREE"
    assert cells[7].detail.endswith("seen, does not count")
    assert cells[7].value is None


def test_other_weights_of_the_same_name_are_another_line(fleet_rows: list[Row]) -> None:
    table = blog.tables(fleet_rows)[1]
    algebra = [cells for cells in table.rows if cells[0].detail == "algebra"]
    assert [cells[1].text for cells in algebra] == ["qwen3-30b", "qwen3-30b"]
    assert [cells[1].detail[-8:] for cells in algebra] == ["11111111", "55555555"]
    assert all(cells[1].detail.startswith("qwen3:30b-a3b-thinking-2507") for cells in algebra), "what was asked for"
    assert [value.text for value in algebra[0][6:]] == ["not run"] * 4
    assert [value.text for value in algebra[1][2:6]] == ["not run"] * 4


def test_a_wrong_answer_is_seen(fleet_rows: list[Row]) -> None:
    table = blog.tables(fleet_rows)[0]
    cells = next(cells for cells in table.rows if cells[0].detail == "algebra")
    assert (cells[5].text, cells[5].kind) == ("12/12", "text")
    assert (cells[9].text, cells[9].kind, cells[9].note) == ("6/12", "status", "wrong: right 0/6")


def test_chinese_heads(fleet_rows: list[Row]) -> None:
    table = blog.tables(fleet_rows, "zh")[0]
    assert table.title == "node1 各任务速度"
    assert [column.title for column in table.columns[:6]] == ["任务", "模型", "预填充", "解码", "显存", "答案正确"]


def test_runs_are_told_apart_when_there_are_several(tmp_path: Path) -> None:
    MadeUp(tasks=["algebra"]).write(tmp_path)
    MadeUp(tasks=["algebra"], run_id="2026-11-23-b").write(tmp_path)
    found = rows(read([tmp_path]))
    groups = {column.group for column in blog.tables(found)[0].columns} - {""}
    assert groups == {"llama.cpp b6795 (2026-11-22-a)", "llama.cpp b6795 (2026-11-23-b)"}
    assert "2026-11-23-b" in content.cells(found).rows[-1][0].detail
    assert len(environment.table([run.run for run in found[::2]]).columns) == 3


def test_every_column_of_rates_names_a_formula_that_is_explained(fleet_rows: list[Row]) -> None:
    tables = [*blog.tables(fleet_rows), content.suite_totals(fleet_rows), content.cells(fleet_rows)]
    tables += [content.agreement(fleet_rows), detail.vram(fleet_rows), detail.heat(fleet_rows)]
    known = {formula.id for formula in [*FORMULAS.values(), *FORMULAS_HERE.values()]}
    explained = {cells[0].text for cells in detail.formulas(tables).rows}
    rates = [column for table in tables for column in table.columns if column.unit in ("tok/s", "J/tok")]
    assert len(rates) >= 15
    assert [column.title for column in rates if column.formula not in known] == []
    assert {column.formula for table in tables for column in table.columns if column.formula} <= explained


def test_a_headline_of_mixed_formulas_says_so_in_each_cell(tmp_path: Path) -> None:
    """Two engines of which one gives no prefill time of its own: the client's bound is marked as what it is."""
    MadeUp(tasks=["algebra"]).write(tmp_path)
    other = rows(read([MadeUp(tasks=["algebra"], engine="lmstudio").write(tmp_path)]))
    for row in other:
        for name in ("pf_srv", "pf_hdr"):
            row.stats.pop(name)
    both = [*rows(read([tmp_path / "node1" / "2026-11-22-a" / "llama.cpp.jsonl"])), *other]
    table = content.cells(both)
    place = next(i for i, column in enumerate(table.columns) if column.title == "prefill")
    assert table.columns[place].formula == ""
    assert [cells[place].detail.rpartition(" · ")[2] for cells in table.rows] == ["PF_srv@1"] * 2 + ["PF_cli@1"] * 2


def test_every_repetition_that_does_not_count_is_listed(fleet_rows: list[Row]) -> None:
    table = detail.rejected(fleet_rows)
    assert len(table.rows) == 6 * 13
    shown = {(cells[-2].text, cells[-1].text) for cells in table.rows}
    assert ("TIMEOUT_PREFILL", "no first token within 1800 s") in shown
    assert ("UNSUPPORTED", "4-bit gemma3 is not supported by this engine") in shown


def test_a_cell_that_never_sent_anything_is_listed_too(tmp_path: Path) -> None:
    path = MadeUp(tasks=["algebra"], statuses={"qwen3-30b.algebra.fixed": ("UNSUPPORTED", "no pictures")}).write(
        tmp_path
    )
    kept = [text for text in path.read_text().splitlines() if '"seq"' not in text]
    path.write_text("\n".join(kept) + "\n")
    table = detail.rejected(rows(read([tmp_path])))
    assert [[value.text for value in cells[1:]] for cells in table.rows] == [["all", "UNSUPPORTED", "no pictures"]]


def test_statuses_and_checks_are_explained(fleet_rows: list[Row]) -> None:
    seen = [cells[0].text for cells in detail.statuses(fleet_rows).rows]
    assert seen == ["OK", "EMPTY_ANSWER", "TIMEOUT_PREFILL", "OOM", "UNSUPPORTED", "DISAGREE"]
    failed = [cells for cells in detail.checks(fleet_rows).rows if cells[2].kind == "status"]
    assert {cells[1].text for cells in failed} == {"right"}
    assert failed[0][-1].text == "made up"


def test_models_are_named_with_their_weights(fleet_rows: list[Row]) -> None:
    table = detail.models(fleet_rows)
    assert len(table.rows) == 8
    row = line(table, "gemma3-27b", "node2", "lmdeploy")
    assert "555555555555" in row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1234.5, "1\u202f234"), (999.9, "1\u202f000"), (45.67, "45.7"), (4.567, "4.57")),
        *((0.4567, "0.457"), (0.0, "0.000"), (0.00012, "1.2e-04"), (-12.34, "-12.3")),
    ],
)
def test_figures_have_three_or_four_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_controls_that_failed_are_marked(tmp_path: Path) -> None:
    MadeUp(tasks=["algebra"]).write(tmp_path)
    found = rows(read([tmp_path]))
    broken: dict[str, Any] = {"ok": False, "detail": "the repeat was not faster"}
    found[0].cell["controls"]["cache"] = broken
    table = content.agreement(found)
    place = next(i for i, column in enumerate(table.columns) if column.title == "deliberate repeat")
    assert [(c[place].text, c[place].kind) for c in table.rows] == [("FAILED", "status"), ("ok", "text")]
    assert table.rows[0][place].note == "the repeat was not faster"


def test_weights_without_a_checksum_are_told_apart_by_what_is_known(tmp_path: Path) -> None:
    MadeUp(tasks=["algebra"]).write(tmp_path)
    row = rows(read([tmp_path]))[0]
    row.model.update(sha256=None, format="gguf q4_0", served="/srv/models/m.gguf", bytes=246_587_904)
    assert row.weights == "gguf q4_0 m.gguf 247 MB"
    row.model.update(format=None, served=None, bytes=None)
    assert row.weights == "unknown weights"


def test_a_cell_that_failed_although_all_its_requests_are_ok_shows_no_figure(tmp_path: Path) -> None:
    """Such as one whose coherence probe found a broken kernel."""
    MadeUp(tasks=["algebra"]).write(tmp_path)
    found = rows(read([tmp_path]))
    found[0].cell.update(status="IMPLAUSIBLE", reject_reason="coherence probe")
    value = content.cells(found).rows[0][2]
    assert (value.kind, value.value) == ("status", None)
    assert value.detail.endswith("seen, does not count")


def test_the_documentation_explains_every_formula_that_a_column_names(fleet_rows: list[Row], repo_root: Path) -> None:
    text = (repo_root / "docs" / "benchmark-report.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([A-Za-z0-9_]+@\d+)`", text))
    tables = [*blog.tables(fleet_rows), content.suite_totals(fleet_rows), content.cells(fleet_rows)]
    tables += [content.agreement(fleet_rows), detail.vram(fleet_rows), detail.heat(fleet_rows)]
    assert {column.formula for table in tables for column in table.columns if column.formula} <= explained
    assert explained <= {formula.id for formula in [*FORMULAS.values(), *FORMULAS_HERE.values()]}


def test_a_headline_that_is_missing_says_why(tmp_path: Path) -> None:
    path = MadeUp(tasks=["algebra"]).write(tmp_path)
    short = "15 tokens after the first, fewer than 32"
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    for record in lines:
        for name in ("dc_srv", "dc_cli", "dc_w") if record["type"] == "request" else ():
            record["derived"][name].update(value=None, reason=short)
        if record["type"] == "cell":
            record["metrics"].clear()
    path.write_text("".join(json.dumps(record) + "\n" for record in lines), encoding="utf-8")
    found = rows(read([tmp_path]))
    value = blog.tables(found)[0].rows[0][3]
    assert (value.text, value.kind, value.note) == ("none", "none", short)
    titles = [column.title for column in content.cells(found).columns]
    assert "decode" in titles
    assert "decode, tokens 33 to 288" not in titles


def test_counts_have_no_decimals(fleet_rows: list[Row]) -> None:
    table = detail.client(fleet_rows)
    place = next(i for i, column in enumerate(table.columns) if column.title == "lost requests")
    assert table.rows[0][place].text == "0"
