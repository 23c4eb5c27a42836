# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: the layers of the preflight in one task, since each task costs the controller a process a host.

Documented in library/preflight.py.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader, lookup_loader
from ansible.utils.display import Display

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.mirror.plan import PYTHONS
from ansible.module_utils.mi50.monitor.verify import text as as_metrics
from ansible.module_utils.mi50.preflight import run as this_run
from ansible.module_utils.mi50.preflight.also import ENGINES
from ansible.module_utils.mi50.preflight.mirror_needs import needs
from ansible.module_utils.mi50.preflight.model import build_report, crashed
from ansible.module_utils.mi50.verify.check_gateway import check_gateways
from ansible.module_utils.mi50.verify.check_stack import id_of

# Ansible loads this file before it forks a process for each host: what those need is loaded and read here, once.
for _name in ("preflight_inventory", "preflight_report"):
    action_loader.get(_name, class_only=True)
for _name in ("mi50_stack", "rocm_query", "gfx906_rocblas", "mi50_builds", "torch_env"):
    lookup_loader.get(_name, class_only=True)

# Option of preflight_host -> variable of the role preflight, without its prefix.
_OPTIONS = {
    "stack": "stack",
    "kernel_driver": "kernel_driver",
    "expected_gpus": "expected_gpus",
    "min_free_gib": "min_free_gib",
    "bases": "bases",
    "key_fingerprint": "apt_key_fingerprint",
    "http_proxy": "http_proxy",
    "https_proxy": "https_proxy",
    "no_proxy": "no_proxy",
    "timeout": "timeout",
    "sysfs_root": "sysfs_root",
    "proc_root": "proc_root",
    "dev_root": "dev_root",
}


# What Ansible says of a module that died; shown with -vvv.
_TRACES = ("exception", "module_stdout", "module_stderr", "rc")


def _why(result: dict[str, Any]) -> str:
    """Return the words that say most of a module's end: the last line of its traceback, or its message."""
    said = [str(result.get(name, "")) for name in ("exception", "module_stderr", "module_stdout")]
    lines = [line.strip() for text in said for line in reversed(text.splitlines())]
    error = next((line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception): ", line)), "")
    return _line(error or str(result.get("msg", ""))) or "the module ended without an answer"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _has(answers: dict[str, Any]) -> str:
    """Return the last words on a node whose answers leave nothing to do."""
    words = [answer["has"] for answer in answers.values() if answer.get("has")]
    return f"{', '.join(words)}. Next: nothing; the node is as the stack says."


class ActionModule(ActionBase):
    """`preflight: {dir: ...}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("inventory", "host", "also", "let_go", "verify", "metrics", "gateways", "dir", "fail"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the inventory; if it is right, look at the host; report. Raises AnsibleActionFail."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        layers: list[Any] = []
        ready = True
        if boolean(arguments.get("inventory", True)):
            seen = self._delegate("preflight_inventory", {}, variables)
            layers.append(seen["checks"])
            ready = seen["ready"]
        host: dict[str, Any] = {}
        if boolean(arguments.get("host", True)) and ready:
            also = arguments.get("also") or {}
            verify = boolean(arguments.get("verify", False))
            try:
                host = self._look({} if verify else also, variables, arguments.get("let_go"))
                layers += self._seen(host, variables)
                if verify:
                    layers.append(self._verify(also, variables, arguments.get("gateways") or {}))
                    if arguments.get("metrics") and "checks" in host:
                        self._publish(str(arguments["metrics"]), layers, variables)
            except AnsibleError as error:
                # Unreachable, no sudo: the report of an earlier run must not stand for this one.
                layers.append([crashed("host", _line(str(error))).as_dict()])
                self._report(layers, {**arguments, "fail": False}, variables)
                raise
        result = self._report(layers, arguments, variables)
        if "checks" not in host and host and not boolean(arguments.get("verify", False)):
            # Not even with fail=false: roles would work on a node that nobody has looked at.
            result.update(failed=True, msg=result.get("msg") or host.get("msg", "preflight_host crashed"))
            result.update({name: host[name] for name in _TRACES if name in host})
        if not result.get("failed"):
            answers, settled = host.get("answers", {}), host.get("settled", False)
            result.update(
                answers=answers, settled=settled, done=False, claimed=host.get("run", {}).get("claimed", False)
            )
            if settled and self._may_go(str(arguments.get("let_go") or ""), answers, variables):
                result["done"] = True
                # A task of its own would cost as much as a tenth of the whole run.
                Display().display(f"{variables['inventory_hostname']}: {_has(answers)}")
        return result

    def _report(self, layers: list[Any], arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        given = {name: arguments[name] for name in ("dir", "fail") if name in arguments}
        given.update(checks=layers, name="verify" if boolean(arguments.get("verify", False)) else "preflight")
        return self._delegate("preflight_report", given, variables)

    def _seen(self, host: dict[str, Any], variables: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """The checks of the host, or the one that says why there are none."""
        if "checks" not in host:
            return [[crashed("host", _why(host)).as_dict()]]
        return [host["checks"], self._alone(host, variables)]

    def _may_go(self, name: str, answers: dict[str, Any], variables: dict[str, Any]) -> bool:
        """Tell whether a settled node has nothing to say either. Who asks for tags asks for roles."""
        if not name or list(variables.get("ansible_run_tags", ["all"])) != ["all"]:
            return False
        if any(answer.get("reboot_required") for answer in answers.values()):
            return False
        return bool(boolean(self._value(name, variables), strict=False))

    def _alone(self, host: dict[str, Any], variables: dict[str, Any]) -> list[dict[str, Any]]:
        """The checks that no other run and no other name of this run is at work on this machine."""
        checks = []
        found = host["run"]
        if found["held_by"]:
            checks.append(this_run.held(found["held_by"], this_run.describe(variables["inventory_hostname"])))
        if found["host_key"] and variables.get("ansible_connection") != "local":
            checks.append(this_run.same_key(variables["inventory_hostname"], found["host_key"]))
        return [check.as_dict() for check in checks]

    def _look(self, also: dict[str, str], variables: dict[str, Any], let_go: str | None) -> dict[str, Any]:
        """Call the host. Its questions are variables: evaluated before the inventory is right, they may fail."""
        options = {option: self._value(f"preflight_{name}", variables) for option, name in _OPTIONS.items()}
        options["stack"] = self._lookup("mi50_stack", options["stack"], variables)
        key_file = self._value("preflight_apt_key_file", variables)
        if key_file:
            options["key_content"] = self._lookup("ansible.builtin.file", key_file, variables, rstrip=False)
        options["controller_time"] = time.time()
        options["also"] = {module: self._value(name, variables) for module, name in also.items()}
        given = {name: value for name, value in options.items() if value is not None}
        mirror = str(self._value("preflight_mirror", variables) or "") if also else ""
        if mirror:
            fetched = {role: self._fetched(role, variables) for role in ENGINES if options["also"].get(role)}
            wanted = needs(options["stack"], options["also"], fetched, mirror)
            pythons = {"-".join(key): version for key, version in PYTHONS.items()}
            given["mirror"] = {"base": mirror, "needs": wanted, "pythons": pythons}
        if let_go:  # who lets nodes go is about to work on the others
            take = boolean(self._templar.template(variables.get(this_run.TAKE, False)))
            given["run"] = {**this_run.describe(variables["inventory_hostname"]), "take": take}
        result: dict[str, Any] = self._execute_module("preflight_host", module_args=given, task_vars=variables)
        held_by = result.get("run", {}).get("held_by")
        if held_by and this_run.over(held_by):
            given["run"]["take"] = True
            result = self._execute_module("preflight_host", module_args=given, task_vars=variables)
        return result

    def _fetched(self, role: str, variables: dict[str, Any]) -> list[tuple[str, str]]:
        """What an engine's role fetches: addresses, each with the digest or commit it has to have."""
        plan = self._lookup("mi50_service", role, variables)
        found = [(one["url"], one["sha256"]) for one in plan["files"]]
        options = plan["service"]["options"]
        if options.get("image") and not options.get("image_archive") and "build" not in plan["question"]:
            found.append((options["image"], options.get("image_digest") or ""))
        if f"{role}_repository" in variables:
            found.append((self._value(f"{role}_repository", variables), self._value(f"{role}_commit", variables)))
        return found

    def _verify(
        self, also: dict[str, str], variables: dict[str, Any], gateways: dict[str, str]
    ) -> list[dict[str, Any]]:
        """Call the host once more: a bare host is asked to take a stack, a finished one to show that it works.

        A question that cannot be put, and a call that crashes, are findings: they must not cost the others.
        """
        stack = self._lookup("mi50_stack", self._value("preflight_stack", variables), variables)
        roots = {f"{name}_root": self._value(f"preflight_{name}_root", variables) for name in ("sysfs", "proc", "dev")}
        asked, checks = {}, []
        for module, name in also.items():
            try:
                asked[module] = self._value(name, variables)
            except AnsibleError as error:
                checks.append(crashed(id_of(module), _line(str(error))))
        given = {**roots, "version": stack["rocm"]["version"], "questions": asked}
        result: dict[str, Any] = self._execute_module("node_verify", module_args=given, task_vars=variables)
        if "checks" not in result:
            checks.append(crashed("node.verify", _why(result)))
        claim = result.get("claim")
        claim = None if claim and this_run.over(claim) else claim
        checks += check_gateways(variables["inventory_hostname"], gateways, claim)
        return [*result.get("checks", []), *(check.as_dict() for check in checks)]

    def _publish(self, path: str, layers: list[Any], variables: dict[str, Any]) -> None:
        """Leave the result on the node for node-exporter; that this cannot be done is for the monitoring to notice."""
        report = build_report(variables["inventory_hostname"], [check for layer in layers for check in layer])
        files = [{"path": path, "content": as_metrics(report, time.time())}]
        self._execute_module("config_files", module_args={"files": files}, task_vars=variables)

    def _value(self, name: str, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the variable holds
        if name not in variables:
            raise AnsibleActionFail(f"preflight: there is no variable {name!r}, see preflight_also")
        return self._templar.template(variables[name])

    def _lookup(self, name: str, term: str, variables: dict[str, Any], **options: bool) -> Any:  # noqa: ANN401
        plugin = lookup_loader.get(name, loader=self._loader, templar=self._templar)
        return plugin.run([term], variables, **options)[0]

    def _delegate(self, action: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = arguments
        plugin = self._shared_loader_obj.action_loader.get(
            action,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = plugin.run(task_vars=variables)
        return result
