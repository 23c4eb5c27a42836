"""Models and the container engine are asked for in the one call of the preflight, before the engines that need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mi50.containers import question as containers
from mi50.models import store
from mi50.preflight import also

UNIT = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"


def run(_command: list[str]) -> tuple[int, str]:
    return 0, UNIT


@pytest.fixture
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/docker").touch()
    original = containers.answer
    monkeypatch.setattr(containers, "answer", lambda options, run: original(options, run, tmp_path))
    (tmp_path / "models/m").mkdir(parents=True)
    store.save(tmp_path / "models/m", store.Entry("m", "i", {}, ()))
    return {
        "container_engine": {"registry_mirrors": [], "insecure_registries": []},
        "model": {"store": str(tmp_path / "models"), "models": [{"name": "m", "identity": "i"}], "absent": []},
    }


def test_settled(questions: dict[str, Any]) -> None:
    told = {"settled": True, "has": "models m"}
    assert also.ask(questions, run) == {"container_engine": {"settled": True}, "model": told}
    assert also.NAMES.index("container_engine") < also.NAMES.index("model") < also.NAMES.index("vllm")


def test_models_that_nobody_asks_for_are_named(questions: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "models/old").mkdir()
    assert also.ask(questions, run)["model"]["has"] == "models m (unused: old)"


def test_what_is_lacking_stops_the_answers(questions: dict[str, Any], tmp_path: Path) -> None:
    questions["model"]["models"][0]["identity"] = "another"
    assert list(also.ask(questions, run)) == ["container_engine"]
    questions["container_engine"]["registry_mirrors"] = ["http://mirror.lab"]
    assert also.ask(questions, run) == {}
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/daemon.json").write_text(json.dumps({"registry-mirrors": ["http://mirror.lab"]}))
    assert list(also.ask(questions, run)) == ["container_engine"]
    (tmp_path / "usr/bin/docker").unlink()
    assert also.ask(questions, run) == {}
