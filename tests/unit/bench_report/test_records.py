"""What is broken is named with file and line; what is whole is reported all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchreport.records import Records, ReportError, read
from tests.unit.bench_report.made_up import EXAMPLE, MadeUp


def small(**changes: Any) -> MadeUp:
    return MadeUp(tasks=["algebra", "geometry"], reps=6, **changes)


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def reading(path: Path) -> Records:
    return read([path])


def test_a_whole_run_has_no_problems(tmp_path: Path) -> None:
    small().write(tmp_path)
    found = reading(tmp_path)
    assert found.problems == []
    (run,) = found.runs
    assert (run.node, run.framework, run.run_id, len(run.cells)) == ("node1", "llama.cpp", "2026-11-22-a", 4)
    assert [len(run.requests_of(cell)) for cell in run.cells.values()] == [6, 6, 6, 6]


def test_the_schema_s_own_example_is_read() -> None:
    assert reading(EXAMPLE).problems == []


def test_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-400], encoding="utf-8")
    found = reading(tmp_path)
    count = len(lines_of(path))
    assert found.problems[0] == f"{path}: line {count}: cut off in the middle, left out (the writer was killed?)"
    assert found.problems[1].endswith("was begun on node1 and never finished; resume the run to measure it")
    assert len(found.runs[0].cells) == 3


def test_rubbish_in_the_middle_and_what_is_no_record(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    lines = lines_of(path)
    path.write_text("\n".join([lines[0], "{broken", "[1]", '{"type": "x"}', *lines[1:]]) + "\n", encoding="utf-8")
    problems = reading(tmp_path).problems
    assert problems == [
        f"{path}: line 2: no valid JSON, left out",
        f"{path}: line 3: type 'list' is unknown, left out",
        f"{path}: line 4: type 'x' is unknown, left out",
    ]


@pytest.mark.parametrize(
    ("version", "way"), [(2, "update this checkout"), (0, "measure again"), (None, "measure again")]
)
def test_an_unknown_schema_version(tmp_path: Path, version: int | None, way: str) -> None:
    path = small().write(tmp_path)
    other = MadeUp(tasks=["task-plan"], run_id="2026-11-23-b").write(tmp_path)
    changed = [json.dumps({**json.loads(line), "schema_version": version}) for line in lines_of(other)]
    other.write_text("\n".join(changed) + "\n", encoding="utf-8")
    found = reading(tmp_path)
    where = f"{other}: line 1, 2, 3 and {len(changed) - 3} more"
    assert found.problems == [f"{where}: schema_version {version!r}, this report reads 1, left out: {way}"]
    assert [run.path for run in found.runs] == [path]


def test_a_line_that_the_schema_refuses_says_where(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    lines = [json.loads(line) for line in lines_of(path)]
    lines[-1]["status"] = "FINE"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    problem = reading(tmp_path).problems[0]
    assert problem.startswith(f"{path}: line {len(lines)}: cell: status: 'FINE' is not one of")


def test_a_cell_that_came_twice_is_shown_once(tmp_path: Path) -> None:
    first = small().write(tmp_path / "a")
    second = small(hours=1).write(tmp_path / "b")
    found = reading(tmp_path)
    assert sum(len(run.cells) for run in found.runs) == 4
    assert all(cell["finished_utc"] > "2026-11-22T01" for run in found.runs for cell in run.cells.values())
    assert len(found.problems) >= 4
    assert found.problems[0].startswith(
        f"{first}: gemma3-27b.geometry.fixed of 2026-11-22-a on node1 is in {second} as well"
    )


def test_one_file_named_twice_is_read_once(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    assert read([tmp_path, path, path.parent]).problems == []


def test_a_later_line_of_the_same_cell_replaces_the_earlier(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    last = json.loads(lines_of(path)[-1])
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**last, "status": "THERMAL", "reject_reason": "hot"}) + "\n")
    found = reading(tmp_path)
    assert found.problems == []
    assert found.runs[0].cells[last["cell_id"]]["status"] == "THERMAL"


def test_a_file_without_a_run_line_is_still_shown(tmp_path: Path) -> None:
    path = small().write(tmp_path)
    path.write_text("\n".join(lines_of(path)[1:]) + "\n", encoding="utf-8")
    found = reading(tmp_path)
    assert found.problems == [f"{path}: no line of type run: node, card and engine are unknown"]
    assert (found.runs[0].node, found.runs[0].framework) == ("unknown node", "llama.cpp")


def test_an_empty_run_beside_a_full_one(tmp_path: Path) -> None:
    small().write(tmp_path)
    empty = MadeUp(run_id="2026-11-23-b").write(tmp_path)
    empty.write_text(lines_of(empty)[0] + "\n", encoding="utf-8")
    blank = empty.with_name("vllm.jsonl")
    blank.write_text("\n", encoding="utf-8")
    assert reading(tmp_path).problems == [
        f"{blank}: empty",
        f"{empty}: the run 2026-11-23-b on node1 has no finished cell",
    ]


def test_the_samples_beside_a_run_are_no_run(tmp_path: Path) -> None:
    path = small().write(tmp_path, samples=True)
    (path.parent / "raw" / "notes.jsonl").write_text("{}", encoding="utf-8")
    assert reading(tmp_path).problems == []


def test_nothing_at_all_is_an_error_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(ReportError) as caught:
        read([tmp_path, tmp_path / "gone"])
    assert str(caught.value) == (
        f"no finished measurement to report: {tmp_path}: no .jsonl file in this folder; "
        f"{tmp_path / 'gone'}: no such file or folder"
    )
