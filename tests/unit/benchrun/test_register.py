"""Which run a call works on."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from mi50.benchrun.register import Register, RegisterError, commit_of

NOW = datetime(2026, 11, 22, 20, 15, 0, tzinfo=timezone.utc)
WHAT = {"suite": "smoke", "cells": ["a.fixed"]}


def begin(folder: Path, wanted: str = "", what: dict[str, Any] | None = None, after: int = 0, **more: Any) -> Any:
    options = {"dry": False, "harness": folder, **more}
    return Register(folder).begin(wanted, what or WHAT, NOW + timedelta(seconds=after), **options)


def test_a_run_is_named_after_the_time(tmp_path: Path) -> None:
    found = begin(tmp_path)
    assert (found["id"], found["resumed"]) == ("2026-11-22-201500", False)
    assert json.loads((tmp_path / found["id"] / "run.json").read_text())["what"] == WHAT


def test_an_unfinished_run_is_gone_on_with(tmp_path: Path) -> None:
    first = begin(tmp_path)
    again = begin(tmp_path, after=60)
    assert (again["id"], again["resumed"]) == (first["id"], True)


def test_a_finished_run_is_not(tmp_path: Path) -> None:
    first = begin(tmp_path)
    Register(tmp_path).finish(first["id"], NOW)
    assert begin(tmp_path, after=60)["id"] == "2026-11-22-201600"


def test_another_question_is_another_run(tmp_path: Path) -> None:
    begin(tmp_path)
    assert begin(tmp_path, what={**WHAT, "suite": "blog"}, after=60)["resumed"] is False


def test_new_means_new(tmp_path: Path) -> None:
    first = begin(tmp_path)
    assert begin(tmp_path, "new", after=60)["id"] != first["id"]


def test_a_name_of_ones_own(tmp_path: Path) -> None:
    assert begin(tmp_path, "mine")["id"] == "mine"
    assert begin(tmp_path, "mine")["resumed"] is True
    with pytest.raises(RegisterError, match="measured something else"):
        begin(tmp_path, "mine", what={"suite": "other"})


@pytest.mark.parametrize("name", ["../x", "a b", "a/b", ".x"])
def test_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegisterError, match="benchmark_run_id"):
        begin(tmp_path, name)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    begin(tmp_path, dry=True)
    assert list(tmp_path.iterdir()) == []


def test_two_batches_of_one_call_share_a_new_run(tmp_path: Path) -> None:
    first = begin(tmp_path, "new", caller="4711")
    assert begin(tmp_path, "new", after=60, caller="4711")["id"] == first["id"]
    assert begin(tmp_path, "new", after=60, caller="4712")["id"] != first["id"]


def test_a_broken_register_is_named(tmp_path: Path) -> None:
    run = begin(tmp_path)
    (tmp_path / run["id"] / "run.json").write_text("{")
    with pytest.raises(RegisterError, match=r"run\.json cannot be read"):
        begin(tmp_path)


def test_outside_of_git_there_is_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
