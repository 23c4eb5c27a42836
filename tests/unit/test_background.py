"""A job in the background of a node: its progress is shown, breaks of the connection are no end, a dead run is."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from mi50 import background
from mi50.models.progress import line

JOB = {"ansible_job_id": "1", "results_file": "/r"}


class Lost(Exception):
    """What a plugin's connection raises."""


class Node:
    """A plugin whose node gives one answer a look: a progress, a result, or a break."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)
        self.resets = 0
        self._connection = self

    def reset(self) -> None:
        self.resets += 1

    def _low_level_execute_command(self, command: str) -> dict[str, Any]:
        assert "'/p'" in command and "'/r'" in command
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        progress, result = look
        return {"stdout": f"{json.dumps(progress)}\n@@@\n{json.dumps(result)}"}


RUNS = {"started": 1, "finished": 0, "ansible_job_id": "1"}
FETCHING = {"model": "torch", "file": "torch.whl", "all": 5000000, "total": 0, "rate": 1000000}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(background.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(background, "result", lambda *_args: {"changed": True, "generation": "/g"})
    return []


def follow(node: Node, said: list[str]) -> dict[str, Any]:
    return background.Follower(node, {}, Lost, "generation", line, said.append).follow(JOB, "/p")


def test_what_changes_is_said_until_there_is_a_result(said: list[str]) -> None:
    installs = {"model": "torch", "phase": "installing"}
    node = Node((FETCHING, RUNS), (FETCHING, RUNS), (installs, RUNS), ({}, {"generation": "/g"}))
    assert follow(node, said) == {"changed": True, "generation": "/g"}
    assert said == ["torch torch.whl 5 MB, 1.0 MB/s", "torch: installing"]


def test_a_break_of_the_connection_is_no_end(said: list[str]) -> None:
    node = Node((FETCHING, RUNS), Lost("no route"), Lost("no route"), ({}, {"finished": 1}))
    assert follow(node, said)["generation"] == "/g"
    assert node.resets == 2 and len(said) == 1


def test_a_node_that_does_not_answer_is_given_up_after_minutes(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100000, 100))
    monkeypatch.setattr(background.time, "monotonic", lambda: next(clock))

    def gone(*_args: Any) -> dict[str, Any]:
        raise Lost("gone")

    monkeypatch.setattr(background, "result", gone)
    with pytest.raises(Lost):
        follow(Node(*[Lost("gone")] * 1000), said)
    assert "does not answer (gone); the download goes on there" in said


def test_nobody_waits_for_a_run_that_was_killed(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node((FETCHING, RUNS))
    follower = background.Follower(node, {}, Lost, "generation", line, said.append)
    monkeypatch.setattr(os, "getppid", lambda: -1)
    with pytest.raises(background.Abandoned):
        follower.follow(JOB, "/p")
