# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: the layers of the preflight in one task, since each task costs the controller a process a host.

Documented in library/preflight.py.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """`preflight: {host: __preflight_question, dir: ...}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("inventory", "host", "also", "dir", "fail"))

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
        if arguments.get("host") and ready:
            host = self._look(arguments, variables)
            if "checks" not in host:
                return host
            layers.append(host["checks"])
        report = {"checks": layers, "dir": arguments.get("dir"), "fail": arguments.get("fail", True)}
        result = self._delegate("preflight_report", report, variables)
        if not result.get("failed"):
            result["answers"] = host.get("answers", {})
        return result

    def _look(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Call the host. Its questions are variables: evaluated before the inventory is right, they may fail."""
        asked = arguments.get("also") or {}
        options = {**self._value(arguments["host"], variables), "also": {}}
        for module, name in asked.items():
            options["also"][module] = self._value(name, variables)
        result: dict[str, Any] = self._execute_module("preflight_host", module_args=options, task_vars=variables)
        return result

    def _value(self, name: str, variables: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the variable holds
        if name not in variables:
            raise AnsibleActionFail(f"preflight: there is no variable {name!r}; host and also name variables")
        return self._templar.template(variables[name])

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
