"""docs/fan-faults.md, and the tool that writes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import fan_faults

TESTS = Path(__file__).resolve().parents[2]
IDS = [f"F{number:02d}" for number in range(1, 42)]


def test_the_page_is_current_and_names_no_test_that_is_gone() -> None:
    assert fan_faults.problems() == []


def test_the_matrix_is_whole() -> None:
    matrix = fan_faults.load(fan_faults.MATRIX)
    assert [fault["id"] for fault in matrix] == IDS
    assert [fault["id"] for fault in matrix if "procedure" in fault] == ["F39", "F40", "F41"]


@pytest.mark.parametrize("fault", IDS[:38])
def test_each_fault_has_a_test_of_its_name(fault: str) -> None:
    pattern = re.compile(rf"^def test_{fault.lower()}_", re.MULTILINE)
    assert any(pattern.search(path.read_text()) for path in TESTS.rglob("test_*.py"))


REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.fand.test_plant" name="test_f26_load_step[one-card]"/>
<testcase classname="unit.fand.test_plant" name="test_f26_load_step[two]"><failure/></testcase>
<testcase classname="tests.unit.fand.test_plant" name="test_f27_bursts"><skipped/></testcase>
<testcase classname="tests.unit.fand.test_plant" name="test_no_id"/>
</testsuite></testsuites>"""


def test_a_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    found = fan_faults.read_report(path)
    assert found == {
        "tests/unit/fand/test_plant.py::test_f26_load_step": {"passed": 1, "failed": 1, "skipped": 0},
        "tests/unit/fand/test_plant.py::test_f27_bursts": {"passed": 0, "failed": 0, "skipped": 1},
    }
    rows = fan_faults.table(fan_faults.load(fan_faults.MATRIX), found)
    assert "| model: `test_f26_load_step` | **1 failed**, 1 passed |" in rows
    assert "`test_f27_bursts` | **not run** |" in rows
    assert "| F01 |" in rows
    assert "| **none** |" in rows
