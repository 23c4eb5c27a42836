"""The module as Ansible calls it, the report writer, and the whole role once on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.module_utils.testing import patch_module_args
from mi50.preflight.model import build_report
from mi50.preflight.render import failure_message, table

ROOT = Path(__file__).resolve().parents[3]
CHECKS = [
    {"id": "os.release", "title": "t", "status": "ok", "found": "Debian", "expected": "", "remedy": ""},
    {"id": "gpu.present", "title": "t", "status": "fail", "found": "none", "expected": "one", "remedy": "plug it in"},
    {"id": "gpu.bar", "title": "t", "status": "warn", "found": "16", "expected": "32", "remedy": "firmware"},
]


def test_module_returns_checks_and_changes_nothing(
    plugin: Callable[[str, str], ModuleType], stack: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = {"stack": stack, "root": str(tmp_path), "sysfs_root": str(tmp_path), "controller_time": 0}
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        plugin("library", "preflight_host").main()
    result = json.loads(capfd.readouterr().out)
    assert result["changed"] is False
    assert {c["id"]: c["status"] for c in result["checks"]}["apt.python"] == "fail"
    assert list(tmp_path.iterdir()) == []


def test_report_counts_and_names_the_failures() -> None:
    report = build_report("n1", CHECKS)
    assert (report["ok"], report["failures"]) == (False, ["gpu.present"])
    lines = table("preflight", report)
    assert lines[0] == "preflight n1: 1 fail, 1 warn, 1 ok"
    text = "\n".join(lines)
    for check in CHECKS[1:]:
        assert re.search(
            rf"{check['id']} +{check['found']}\n +expected: {check['expected']}\n +-> {check['remedy']}", text
        )
    assert "os.release" not in text
    assert any(re.fullmatch(r" +ok +os\.release +Debian", line) for line in table("preflight", report, full=True))
    assert build_report("n1", CHECKS[:1])["ok"] is True
    assert table("preflight", build_report("n1", CHECKS[:1])) == ["preflight n1: 1 ok"]


def test_failure_message_is_short_and_names_what_each_check_found() -> None:
    assert failure_message("preflight", build_report("n1", CHECKS), "/r/n1.json").splitlines() == [
        "preflight: 1 of 3 checks failed on n1 (table above; report /r/n1.json)",
        "gpu.present: none",
        "no gfx906 card here: script/lab shows the same playbooks on simulated nodes",
    ]
    no_network = [{**CHECKS[1], "id": "network.mi50_url_radeon"}]
    assert "script/lab" not in failure_message("preflight", build_report("n1", no_network), "/r/n1.json")


def test_report_file_is_private(plugin: Callable[[str, str], ModuleType], tmp_path: Path) -> None:
    module = plugin("action_plugins", "preflight_report")
    path = module.write_report(tmp_path / "a/b", "../n 1", build_report("n1", CHECKS))
    assert path.parent == tmp_path / "a/b"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(path.read_text())["failures"] == ["gpu.present"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_report_refuses_what_is_no_check(plugin: Callable[[str, str], ModuleType]) -> None:
    module = plugin("action_plugins", "preflight_report")
    assert [c["id"] for c in module._flatten([CHECKS[:1], CHECKS[1]])] == ["os.release", "gpu.present"]
    for wrong in ("text", [{"id": "x", "status": "green"}], [None]):
        with pytest.raises(module.AnsibleActionFail):
            module._flatten(wrong)


def play(tmp_path: Path, extra: dict[str, Any], *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Run the role against an empty sysfs on this machine; return code, output, report."""
    given = {"mi50_report_dir": str(tmp_path), "mi50_sysfs_root": str(tmp_path), "preflight_bases": [], **extra}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    variables = json.dumps({**given, "ansible_become": False})
    done = subprocess.run(
        [program, "playbooks/preflight.yml", "-i", "inventories/local", "-e", variables, *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, json.loads((tmp_path / "preflight/localhost.json").read_text())


ANSWERS = {"rocm_info": {"has": "ROCm 6.4.3", "reboot_required": False}, "gfx906_rocblas": {"has": "kernel files 156"}}


@pytest.mark.parametrize(
    ("name", "tags", "reboot", "value", "goes"),
    [
        ("quiet", ["all"], False, True, True),
        ("", ["all"], False, True, False),
        ("quiet", ["rocm"], False, True, False),
        ("quiet", ["all"], True, True, False),
        ("quiet", ["all"], False, False, False),
        ("quiet", ["all"], False, "no", False),
    ],
)
def test_a_settled_node_goes_when_nothing_is_left_to_say(
    plugin: Callable[[str, str], ModuleType], name: str, tags: list[str], reboot: bool, value: object, goes: bool
) -> None:
    action = object.__new__(plugin("action_plugins", "preflight").ActionModule)
    action._value = lambda variable, variables: variables[variable]
    answers = {**ANSWERS, "rocm_info": {**ANSWERS["rocm_info"], "reboot_required": reboot}}
    assert action._may_go(name, answers, {"ansible_run_tags": tags, "quiet": value}) is goes


def test_last_words_name_what_the_node_has(plugin: Callable[[str, str], ModuleType]) -> None:
    has = plugin("action_plugins", "preflight")._has({**ANSWERS, "gpu_power_info": {"settled": True}})
    assert has == "ROCm 6.4.3, kernel files 156. Next: nothing; the node is as the stack says."


CRASH = {"failed": True, "msg": "Module failed: 'path'", "exception": "Traceback\n  File x\nKeyError: 'path'"}


class Asked:
    """The action with the node's side replaced: `answers` are what modules return, by name, or what they raise."""

    def __init__(
        self, module: ModuleType, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], **args: Any
    ) -> None:
        monkeypatch.setattr(module.ActionBase, "run", lambda _self, _tmp, _variables: {})
        self.reports: list[dict[str, Any]] = []
        self.action = object.__new__(module.ActionModule)
        self.action._task = type("Task", (), {"args": {"inventory": False, "dir": "r", **args}})
        self.action._value = self.value
        self.action._lookup = lambda _name, _term, _variables: {"rocm": {"version": "6.4.3"}}
        self.action._execute_module = self.execute
        self.action._delegate = self.report
        self.answers = answers
        self.given: dict[str, Any] = {}

    def value(self, name: str, _variables: dict[str, Any]) -> Any:
        if name == "broken":
            raise AnsibleError("'nobody' is undefined")
        return {} if name.startswith("preflight_") else {"of": name}

    def execute(self, name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> Any:
        self.given[name] = module_args
        if isinstance(self.answers[name], Exception):
            raise self.answers[name]
        return self.answers[name]

    def report(self, _action: str, arguments: dict[str, Any], _variables: dict[str, Any]) -> dict[str, Any]:
        self.reports.append({check["id"]: check for layer in arguments["checks"] for check in layer})
        bad = [check for check in self.reports[-1].values() if check["status"] in ("fail", "error")]
        return {"failed": bool(bad) and arguments.get("fail", True), "msg": "m"}

    def run(self) -> dict[str, Any]:
        result: dict[str, Any] = self.action.run(None, {"inventory_hostname": "n1", "ansible_connection": "local"})
        return result


HOST = {"checks": CHECKS[:1], "run": {"held_by": None, "host_key": ""}, "settled": False, "answers": {}}
ALSO = {"rocm_info": "rocm_question", "torch_env": "broken"}


def test_a_call_that_crashes_is_in_the_report_with_all_else(
    plugin: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = plugin("action_plugins", "preflight")
    asked = Asked(module, monkeypatch, {"preflight_host": HOST, "node_verify": CRASH}, verify=True, also=ALSO)
    assert asked.run()["failed"]
    (report,) = asked.reports
    assert {name: check["status"] for name, check in report.items()} == {
        "os.release": "ok",
        "torch.environments": "error",
        "node.verify": "error",
    }
    assert report["node.verify"]["found"] == "KeyError: 'path'"
    assert report["torch.environments"]["found"] == "'nobody' is undefined"
    assert asked.given["node_verify"]["questions"] == {"rocm_info": {"of": "rocm_question"}}


def test_a_node_that_nobody_could_look_at_is_never_worked_on(
    plugin: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with preflight_fail=false either; and the report of an earlier run does not stand for this one."""
    module = plugin("action_plugins", "preflight")
    for fail in (True, False):
        asked = Asked(module, monkeypatch, {"preflight_host": CRASH}, also={}, fail=fail)
        assert asked.run()["failed"]
        assert asked.reports[-1]["host"]["found"] == "KeyError: 'path'"
    asked = Asked(module, monkeypatch, {"preflight_host": AnsibleError("no route to host")}, also={}, verify=True)
    with pytest.raises(AnsibleError, match="no route"):
        asked.run()
    assert asked.reports[-1]["host"]["status"] == "error"


@pytest.mark.slow
def test_role_without_a_card_points_to_the_lab(tmp_path: Path) -> None:
    code, output, report = play(tmp_path, {}, "--check", "--diff")
    assert code == 2
    assert "gpu.present" in report["failures"]
    assert "script/lab shows the same playbooks" in output
    # The table alone has the remedies: Ansible prints the message twice.
    assert output.count("Above 4G decoding") == 1
    assert not re.search(r"^  ok ", output, re.MULTILINE)
    assert "changed=0" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_role_reports_a_typo_and_an_unknown_stack_without_touching_the_host(tmp_path: Path) -> None:
    code, output, report = play(tmp_path, {"mi50_stak": "x", "mi50_stack": "rocm-6.4.2"})
    assert code == 2
    assert report["failures"] == ["inventory.variables", "inventory.stack"]
    assert "did you mean mi50_stack?" in output
    assert "os.release" not in {check["id"] for check in report["checks"]}


@pytest.mark.slow
def test_both_names_of_one_machine_are_refused(tmp_path: Path) -> None:
    """Not the first alone: the other one would go on and meet it in apt."""
    twins = tmp_path / "twins.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    twins.write_text(json.dumps({"mi50_nodes": {"hosts": {"twin-a": host, "twin-b": host}}}))
    play(tmp_path, {}, "-i", str(twins))
    for name in ("twin-a", "twin-b"):
        report = json.loads((tmp_path / "preflight" / f"{name}.json").read_text())
        assert "inventory.hosts" in report["failures"], name
