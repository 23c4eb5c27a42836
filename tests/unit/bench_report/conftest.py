"""The made-up fleet, reported once for all tests of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchreport.build import Options, Result, build
from benchreport.records import read
from benchreport.rows import Row, rows
from tests.unit.bench_report.made_up import fleet


@pytest.fixture(scope="session")
def fleet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def fleet_rows(fleet_dir: Path) -> list[Row]:
    return rows(read([fleet_dir]))


@pytest.fixture(scope="session")
def report(fleet_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return build(Options([fleet_dir], tmp_path_factory.mktemp("report")))
