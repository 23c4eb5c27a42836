"""The action plugin: what it asks of a host, and what becomes of a host that is away. The connection is not there."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from tests.unit.benchrun import test_host

ENGINE = {"name": "a", "kind": "llama.cpp", "url": "http://127.0.0.1:1", "model": "m", "unit": "a.service"}
SUITE = {**test_host.SUITE, "id": "s", "sha256": "0" * 64}
Make = Callable[..., Any]


class Task:
    """As much of a task as the plugin looks at."""

    def __init__(self, args: dict[str, Any], *, check: bool) -> None:
        self.args, self.check_mode, self.async_val, self.action = args, check, 0, "benchmark"
        self.diff = self.no_log = False
        self.environment: list[Any] = []
        self.collections: list[str] = []
        self.delegate_to = None

    def copy(self) -> Task:
        return Task(dict(self.args), check=self.check_mode)


@pytest.fixture
def make(plugin: Callable[[str, str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A plugin whose modules are answered by `answers`, by module and action; what was asked is in `asked`."""
    module = plugin("action_plugins", "benchmark")

    def build(answers: dict[str, Any], *, check: bool = False, **arguments: Any) -> Any:
        given = {"engines": [ENGINE], "suite": SUITE, "run": {"id": "r"}, "dest": str(tmp_path / "home"), "poll": 0.01,
                 "settle_timeout": 0.01, "lost_timeout": 0.01, **arguments}  # fmt: skip
        resets: list[int] = []
        connection = SimpleNamespace(reset=lambda: resets.append(1), _shell=SimpleNamespace(tmpdir=None))
        made = module.ActionModule(Task(given, check=check), connection, SimpleNamespace(), None, None, None)
        made.asked, made.resets, made.shown = [], resets, []

        def execute(module_name: str, module_args: dict[str, Any], **_more: Any) -> dict[str, Any]:
            key = f"{module_name} {module_args['action']}"
            made.asked.append(key)
            answer = answers.get(key, {})
            if isinstance(answer, Exception):
                raise answer
            return dict(answer(module_args) if callable(answer) else answer)

        monkeypatch.setattr(made, "_execute_module", execute)
        monkeypatch.setattr(made, "say", made.shown.append)
        return made

    monkeypatch.setattr(module.Runner.__init__, "__defaults__", (lambda _seconds: None, lambda: next(ticks)))
    ticks = iter(range(10**6))
    return build


def run(made: Any) -> dict[str, Any]:
    return dict(made.run(None, {"inventory_hostname": "node1"}))


def test_check_mode_asks_nobody(make: Make) -> None:
    made = make({}, check=True)
    found = run(made)
    assert (found["changed"], made.asked) == (False, [])
    assert found["plan"] == [{"engine": "a", "unit": "a.service", "stops": [], "cells": ["t.fixed"]}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engines": [{**ENGINE, "kind": "tgi"}]}, "node1: engine 'a': kind 'tgi' is not one of"),
        ({"measure": {"thermal": "hot"}}, "node1: measure.thermal is 'hot'"),
    ],
)
def test_bad_input_is_one_sentence_and_asks_nobody(make: Make, arguments: dict[str, Any], words: str) -> None:
    made = make({}, **arguments)
    with pytest.raises(AnsibleActionFail, match=words):
        run(made)
    assert made.asked == []


def test_installed_engines_are_taken_when_none_is_named(make: Make) -> None:
    installed = {"engines": [{**ENGINE, "name": "llama_cpp", "model": {"requested": "x"}}]}
    made = make({"benchmark_node engines": installed}, check=True, engines=[])
    assert run(made)["plan"][0]["engine"] == "llama_cpp"
    assert made.shown == ["benchmark_engines names none; installed here: llama_cpp"]
    with pytest.raises(AnsibleActionFail, match="no engine of this repository's roles is installed here"):
        run(make({"benchmark_node engines": {"engines": []}}, check=True, engines=[]))


BASE = {
    "benchmark_node prepare": {"missing": []},
    "benchmark_node stop": {"stopped": []},
    "benchmark_node start": {"seconds": 1.0},
    "benchmark_node restore": {"started": ["a.service"], "stopped": []},
    "benchmark_node collect": {"pieces": [], "more": False},
    "llm_benchmark summary": {"cells": []},
    "llm_benchmark baseline": {"baseline": {"status": "OK"}},
    "llm_benchmark cell": {"ansible_job_id": "j", "results_file": "/x/j"},
}
CELL = {"status": "OK", "ok": 6, "measured": 6, "headline": {}}


def test_a_cell_is_started_detached_followed_and_brought_home(make: Make, tmp_path: Path) -> None:
    piece = {"path": "a.jsonl", "offset": 0, "data": base64.b64encode(b"{}\n").decode()}
    parts = iter([{"pieces": [piece], "more": True}, {"pieces": [{**piece, "offset": 3}], "more": False}])
    made = make({**BASE, "benchmark_node collect": lambda _arguments: next(parts, {"pieces": [], "more": False})})
    made._low_level_execute_command = lambda command: {"stdout": '{"phase": "measure"}\n@@@\n'}
    made.poll = lambda job: {"cell": CELL} if job["ansible_job_id"] == "j" else None
    found = run(made)
    assert (found["statuses"], found["problems"], found["changed"]) == ({"OK": 1}, [], False)
    assert made.asked[:5] == ["benchmark_node prepare", "llm_benchmark summary", "benchmark_node stop",
                              "llm_benchmark baseline", "benchmark_node start"]  # fmt: skip
    assert (tmp_path / "home/node1/a.jsonl").read_bytes() == b"{}\n{}\n"
    assert made.asked.count("benchmark_node collect") == 3, "in two pieces after the cell, and once at the end"
    assert made._task.async_val == 0, "later modules would be detached as well"
    assert "a 1/1 t.fixed measure" in made.shown


@pytest.mark.parametrize("answer", [AnsibleConnectionFailure("no route"), {"unreachable": True, "msg": "no route"}])
def test_a_host_that_is_away_is_a_result(make: Make, answer: Any) -> None:
    made = make({**BASE, "benchmark_node prepare": answer})
    found = run(made)
    assert (found["lost"], found["problems"]) == (True, ["the host went away: no route"])
    assert made.asked == ["benchmark_node prepare"]


def test_a_module_that_fails_is_a_problem_and_the_rest_is_restored(make: Make) -> None:
    failed = {"failed": True, "msg": "no unit a.service", "module_stderr": ""}
    made = make({**BASE, "benchmark_node prepare": failed})
    assert run(made)["problems"] == ["no unit a.service"]
    assert made.asked[-2:] == ["benchmark_node restore", "benchmark_node collect"]


def test_a_cell_that_cannot_be_started(make: Make) -> None:
    made = make({**BASE, "llm_benchmark cell": {"failed": True, "msg": "no space left"}})
    assert run(made)["problems"] == ["no space left"]


def test_results_that_cannot_be_written_name_the_controller(make: Make, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert any("on the controller: " in problem for problem in run(make(BASE | {"llm_benchmark cell": {}}))["problems"])


def test_a_look_through_a_broken_connection_is_empty(make: Make) -> None:
    made = make(BASE)
    made._given = {"dir": "/d", "run": {"id": "r"}}
    made._parent = os.getppid()

    def broken(_command: str) -> dict[str, Any]:
        raise AnsibleConnectionFailure("gone")

    made._low_level_execute_command = broken
    assert (made.peek({}), made.resets) == (("", ""), [1])


def test_a_worker_whose_playbook_was_killed_stops(make: Make) -> None:
    made = make(BASE)
    made._parent = -1
    with pytest.raises(Exception, match="ansible-playbook was killed"):
        made._still_wanted()


def test_pictures_are_sent_with_their_content(make: Make, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"png")
    sent: list[dict[str, Any]] = []
    answers = {
        **BASE,
        "benchmark_node prepare": {"missing": ["a.png"]},
        "benchmark_node put": lambda a: sent.append(a) or {},
    }
    made = make(answers, suite={**SUITE, "cells": [], "images": [{"path": str(picture), "sha256": "5" * 64}]})
    run(made)
    assert [json.loads(json.dumps(one["data"])) for one in sent] == [{"a.png": base64.b64encode(b"png").decode()}]
