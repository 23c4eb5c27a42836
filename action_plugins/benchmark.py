# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: all that one host measures, one engine at a time, with live progress; results come home cell by cell.

Documented in library/benchmark.py.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50 import background
from ansible.module_utils.mi50.bench.settings import SettingsError
from ansible.module_utils.mi50.benchrun import look, transfer
from ansible.module_utils.mi50.benchrun import node as wanted
from ansible.module_utils.mi50.benchrun.definition import DefinitionError, parse
from ansible.module_utils.mi50.benchrun.host import Runner
from ansible.module_utils.mi50.benchrun.plan import Choice

_ARGUMENTS = {
    "state": {"type": "str", "choices": ["measured", "restored"], "default": "measured"},
    "engines": {"type": "raw", "required": True},
    "suite": {"type": "dict", "required": True},
    "run": {"type": "dict", "required": True},
    "dest": {"type": "path", "required": True},
    "dir": {"type": "path", "default": "/var/lib/mi50-aipc/bench"},
    "stop_units": {"type": "list", "elements": "str", "default": []},
    "repeats": {"type": "int", "default": 0},
    "max_tokens": {"type": "int", "default": 0},
    "measure": {"type": "dict", "default": {}},
    "gpu": {"type": "str", "default": ""},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
    "start_timeout": {"type": "float", "default": 900},
    "settle_timeout": {"type": "float", "default": 60},
    "poll": {"type": "float", "default": 5},
    "lost_timeout": {"type": "float", "default": 900},
    "note": {"type": "str", "default": ""},
}
_A_DAY = 86400


class ActionModule(ActionBase):
    """`benchmark: {engines: [...], suite: {...}, run: {...}, dest: ...}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Measure what is not measured yet. Raises AnsibleActionFail for wrong arguments, before anything changes."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        dummy, given = self.validate_argument_spec(_ARGUMENTS)
        self._variables = task_vars or {}
        self._given = given
        self._parent = os.getppid()
        self._name = str(self._variables["inventory_hostname"])
        names = {key: str(model["name"]) for key, model in given["suite"]["models"].items()}
        try:
            steps = parse(given["engines"] or self._installed(names), names)
            options = (self._choice(), self._common(), tuple(given["stop_units"]))
            runner = Runner(self, wanted.Order(steps, given["suite"], *options))
        except (DefinitionError, SettingsError) as exc:
            raise AnsibleActionFail(f"{self._name}: {exc}") from exc
        if self._task.check_mode:
            return {**result, "changed": False, "plan": runner.plan()}
        return {**result, **(runner.measure() if given["state"] == "measured" else runner.restore())}

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files; a host that went away must not turn its result into `unreachable`."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure as exc:
            Display().vv(f"{self._task.action}: {exc}")

    def _installed(self, names: dict[str, str]) -> list[dict[str, Any]]:
        """The engines that the roles installed, where the inventory names none. Raises AnsibleActionFail."""
        try:
            found = [look.by_suite(engine, names) for engine in self.node("engines")["engines"]]
        except (wanted.NodeProblem, wanted.NodeLost) as exc:
            raise AnsibleActionFail(f"{self._name}: {exc}") from exc
        if found:
            self.say(f"benchmark_engines names none; installed here: {', '.join(engine['name'] for engine in found)}")
        return found

    def _choice(self) -> Choice:
        return Choice(self._given["repeats"], self._given["max_tokens"], self._given["measure"])

    def _common(self) -> dict[str, Any]:
        """The arguments of llm_benchmark that all calls have in common."""
        run, suite = self._given["run"], self._given["suite"]
        records = {"id": run["id"], "dir": self._given["dir"], "node": self._name, "note": self._given["note"]}
        records.update(commit=run.get("commit", ""), suite_id=suite["id"], suite_sha256=suite["sha256"])
        return {
            "run": {name: value for name, value in records.items() if value},
            "sysfs_root": self._given["sysfs_root"],
            "proc_root": self._given["proc_root"],
            **({"gpu": self._given["gpu"]} if self._given["gpu"] else {}),
        }

    # What the runner asks of a host: the protocol node.Node.

    @property
    def limits(self) -> wanted.Limits:
        """Seconds."""
        return wanted.Limits(
            self._given["start_timeout"],
            self._given["settle_timeout"],
            self._given["poll"],
            self._given["lost_timeout"],
        )

    def say(self, text: str) -> None:
        """One line of progress."""
        Display().display(f"{self._name}: {text}")

    def node(self, action: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a module's arguments
        """Call benchmark_node."""
        own = {"dir": self._given["dir"], "run_id": self._given["run"]["id"], "action": action}
        return self._call("benchmark_node", {**own, **arguments})

    def benchmark(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call llm_benchmark and wait."""
        return self._call("llm_benchmark", arguments)

    def begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Start llm_benchmark so that it outlives this connection; return what `poll` needs."""
        self._still_wanted()
        try:
            started = background.begin(self, "llm_benchmark", arguments, self._variables, _A_DAY)
        except AnsibleConnectionFailure as exc:
            self._reset()
            raise wanted.NodeLost(str(exc)) from exc
        if started.get("unreachable"):
            raise wanted.NodeLost(_message(started))
        if not started.get("ansible_job_id"):
            raise wanted.NodeProblem(_message(started))
        return started

    def peek(self, job: dict[str, Any]) -> tuple[str, str]:
        """The progress file and the beginning of the job's file: cheap, no Python is started on the node."""
        progress = f"{self._given['dir']}/{self._given['run']['id']}/progress.json"
        self._still_wanted()
        command = f"cat {progress} 2>/dev/null; echo; echo @@@; head -c 300 {job.get('results_file') or '/dev/null'}"
        try:
            done = self._low_level_execute_command(command)
        except AnsibleConnectionFailure:
            self._reset()
            return "", ""
        first, dummy, rest = str(done.get("stdout", "")).partition("@@@")
        return first.strip(), rest.strip()

    def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """The job's result, or None while it runs. Raises wanted.NodeLost."""
        try:
            found = background.result(self, job, self._variables, wanted.NodeLost, mark="cell")
        except AnsibleConnectionFailure as exc:
            self._reset()
            raise wanted.NodeLost(str(exc)) from exc
        if found and found.get("failed"):
            raise wanted.NodeProblem(_message(found))
        return found

    def pictures(self) -> dict[str, tuple[str, bytes]]:
        """Digest and content of the suite's pictures, by file name."""
        return {
            Path(image["path"]).name: (image["sha256"], Path(image["path"]).read_bytes())
            for image in self._given["suite"]["images"]
        }

    def put(self, name: str, data: bytes) -> None:
        """Write a picture on the node."""
        self.node("put", data={name: base64.b64encode(data).decode()})

    def collect(self) -> None:
        """Bring home what is new."""
        folder = Path(self._given["dest"]) / self._name
        folder = folder if folder.is_absolute() else _CHECKOUT / folder
        try:
            with transfer.exclusive(folder):
                self._bring(folder)
        except (transfer.TransferError, OSError) as exc:
            raise wanted.NodeProblem(f"on the controller: {exc}") from exc

    def _bring(self, folder: Path) -> None:
        more = True
        while more:
            found = self.node("collect", have=transfer.inventory(folder))
            for piece in found["pieces"]:
                transfer.receive(folder, piece)
            more = found["more"]

    def _call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        found = self._execute(name, arguments)
        if found.get("failed"):
            raise wanted.NodeProblem(_message(found))
        return found

    def _still_wanted(self) -> None:
        """Stop when ansible-playbook was killed: this worker would go on alone, against the next call."""
        if os.getppid() != self._parent:
            raise wanted.NodeLost("ansible-playbook was killed")

    def _execute(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._still_wanted()
        try:
            found: dict[str, Any] = self._execute_module(
                module_name=name, module_args=arguments, task_vars=self._variables
            )
        except AnsibleConnectionFailure as exc:
            self._reset()
            raise wanted.NodeLost(str(exc)) from exc
        if found.get("unreachable"):
            raise wanted.NodeLost(_message(found))
        return found

    def _reset(self) -> None:
        """Drop a connection that is broken; the next call opens another."""
        try:
            self._connection.reset()
        except (AnsibleConnectionFailure, AttributeError):
            return


def _message(found: dict[str, Any]) -> str:
    said = " ".join(str(found.get(key) or "") for key in ("msg", "module_stderr"))
    return " ".join(said.split())[:2000] or "no reason was given"
