"""benchmark_node as Ansible calls it: its answers, its one error a fault, and that check mode changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from mi50.bench.store import Store
from mi50.process import Finished


class ExitError(Exception):
    pass


class Systemd:
    """One unit."""

    def __init__(self) -> None:
        self.active = "active"
        self.exists = True

    def __call__(self, argv: list[str], timeout: float) -> Finished:
        del timeout
        if argv[1] == "show":
            load = "loaded" if self.exists else "not-found"
            return Finished(0, f"LoadState={load}\nActiveState={self.active}\nNRestarts=0\n".encode(), b"")
        if argv[1] in ("start", "stop"):
            self.active = {"start": "active", "stop": "inactive"}[argv[1]]
        return Finished(0, b"its log\n", b"")


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(
    plugin: Callable[[str, str], ModuleType], systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    module = plugin("library", "benchmark_node")

    def end(_self: object, **result: Any) -> None:
        raise ExitError(json.dumps(result))

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end)
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", lambda self, **r: end(self, failed=True, **r))
    monkeypatch.setattr(module, "process_run", systemd)
    monkeypatch.setattr(module.ready, "missing", lambda *_all: None)

    def call(action: str, *, check: bool = False, **params: Any) -> dict[str, Any]:
        given = {"action": action, "dir": str(tmp_path / "bench"), "run_id": "r", "_ansible_check_mode": check}
        with patch_module_args({**given, **params}), pytest.raises(ExitError) as ended:
            module.main()
        return dict(json.loads(str(ended.value)))

    return call


PICTURE = b"picture"
FILES = {"a.png": hashlib.sha256(PICTURE).hexdigest()}
UNITS = {"units": ["a.service"]}


def test_the_actions_of_a_run(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    found = run("prepare", files=FILES, **UNITS)
    assert (found["missing"], found["up"], "busy" in found) == (["a.png"], ["a.service"], False)
    assert run("put", data={"../../a.png": base64.b64encode(PICTURE).decode()})["changed"]
    assert (tmp_path / "bench/images/a.png").read_bytes() == PICTURE
    assert run("prepare", files=FILES, **UNITS)["missing"] == []
    assert run("stop", **UNITS) == {"changed": True, "stopped": ["a.service"]}
    assert run("stop", **UNITS) == {"changed": False, "stopped": []}
    began = run("start", unit="a.service", url="http://127.0.0.1:1")
    assert (began["changed"], began["started"]) == (True, ["a.service"])
    assert run("start", url="http://127.0.0.1:1")["changed"] is False
    run("stop", **UNITS)
    assert run("restore") == {"changed": True, "started": ["a.service"], "stopped": []}
    assert run("restore") == {"changed": False, "started": [], "stopped": []}


@pytest.mark.parametrize("action", ["prepare", "stop", "start", "restore", "collect"])
def test_check_mode_changes_nothing(run: Run, systemd: Systemd, tmp_path: Path, action: str) -> None:
    found = run(action, check=True, files=FILES, unit="a.service", url="http://127.0.0.1:1", **UNITS)
    assert "failed" not in found
    assert (systemd.active, list(tmp_path.iterdir())) == ("active", [])
    if action == "stop":
        assert found["stopped"] == ["a.service"]


def test_check_mode_knows_what_is_left_to_restore(run: Run, systemd: Systemd) -> None:
    run("prepare")
    run("stop", **UNITS)
    assert run("restore", check=True)["changed"] is True
    assert systemd.active == "inactive"


def test_a_cell_that_goes_on_is_seen(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    with Store(folder, "earlier", "llama.cpp") as store:
        assert run("prepare")["busy"] == {"run_id": "r", "phase": "unknown"}
        store.progress({"cell_id": "c", "phase": "measure", "rep": 2, "reps": 6, "index": 1, "of": 2, "message": ""})
        busy = run("prepare")["busy"]
        assert (busy["cell_id"], busy["phase"], busy["rep"]) == ("c", "measure", 2)
    assert "busy" not in run("prepare")


def test_collecting(run: Run, tmp_path: Path) -> None:
    assert run("collect") == {"changed": False, "pieces": [], "more": False}
    (tmp_path / "bench/r").mkdir(parents=True)
    (tmp_path / "bench/r/e.jsonl").write_text("{}\n")
    (piece,) = run("collect")["pieces"]
    assert (piece["path"], piece["offset"], base64.b64decode(piece["data"])) == ("e.jsonl", 0, b"{}\n")
    assert run("collect", have={"e.jsonl": {"size": 3, "sha256": hashlib.sha256(b"{}\n").hexdigest()}})["pieces"] == []


def test_faults_are_one_sentence(run: Run, systemd: Systemd, tmp_path: Path) -> None:
    systemd.exists = False
    assert "there is no unit a.service" in run("prepare", **UNITS)["msg"]
    systemd.exists = True
    (tmp_path / "file").write_text("")
    found = run("prepare", dir=str(tmp_path / "file/bench"))
    assert found["failed"] and found["msg"].endswith("file/bench/images: Not a directory")
