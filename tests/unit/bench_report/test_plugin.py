"""`llm_benchmark_report` as Ansible runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchreport import blog, build, compare
from tests.unit.bench_report.made_up import MadeUp

ROOT = Path(__file__).resolve().parents[3]


def play(folder: Path, arguments: dict[str, Any], *options: str) -> tuple[int, dict[str, Any], str]:
    """Run one task on this machine; return the exit code, the task's result, everything printed."""
    folder.mkdir(exist_ok=True)
    task = {"name": "Report", "llm_benchmark_report": arguments}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
        "ANSIBLE_LIBRARY": str(ROOT / "library"),
        "ANSIBLE_ACTION_PLUGINS": str(ROOT / "action_plugins"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-v",
        "-i",
        "localhost,",
        "-c",
        "local",
        *options,
    ]
    done = subprocess.run(
        [*command, str(folder / "play.yml")], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    found = re.search(r"localhost\](?:: FAILED!)? => (\{.*\})", done.stdout)
    return done.returncode, json.loads(found[1]) if found else {}, done.stdout + done.stderr


def test_a_report_is_made_once(tmp_path: Path) -> None:
    run = MadeUp(tasks=["algebra"], statuses={"qwen3-30b.algebra.fixed": ("OOM", "no memory")}).write(tmp_path)
    arguments = {"sources": [str(run)], "dest": str(tmp_path / "out"), "formats": ["md", "csv"], "language": "zh"}
    code, result, _ = play(tmp_path, arguments, "--check")
    assert (code, result["changed"], (tmp_path / "out").exists()) == (0, True, False)
    code, result, _ = play(tmp_path, arguments)
    assert code == 0
    assert result["changed"] is True
    assert result["files"] == {name: str(tmp_path / "out" / f"report.{name}") for name in ("md", "csv")}
    assert (result["cells"], result["cells_ok"], result["statuses"]) == (2, 1, {"OOM": 1, "OK": 1})
    assert "node1 各任务速度" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert play(tmp_path, arguments)[1]["changed"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": ["/nowhere"]}, "no finished measurement to report: /nowhere: no such file or folder"),
        ({"source": ["x"]}, "Unsupported parameters"),
        ({"across": ["task"]}, "across"),
    ],
)
def test_wrong_arguments_fail_with_a_message(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run = MadeUp(tasks=["algebra"]).write(tmp_path)
    code, _, printed = play(tmp_path, {"sources": [str(run)], "dest": str(tmp_path / "out"), **change})
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed


def test_the_documented_choices_are_those_of_the_code() -> None:
    text = (ROOT / "library" / "llm_benchmark_report.py").read_text(encoding="utf-8")
    options = yaml.safe_load(text.split('DOCUMENTATION = r"""')[1].split('"""')[0])["options"]
    assert tuple(options["formats"]["choices"]) == build.FORMATS
    assert tuple(options["across"]["choices"]) == compare.DROPPABLE
    plugin = (ROOT / "action_plugins" / "llm_benchmark_report.py").read_text(encoding="utf-8")
    assert f"_PARTS = {json.dumps(compare.DROPPABLE).replace('[', '(').replace(']', ')')}" in plugin
    assert tuple(options["language"]["choices"]) == blog.LANGUAGES
