# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: the inventory layer of the preflight. Runs on the controller, opens no connection.

Documented in library/preflight_inventory.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.preflight.inventory import HostEntry, Inventory, check_inventory
from ansible.module_utils.mi50.preflight.known import (
    SHARED,
    exported_variables,
    prefixes,
    read_once,
    role_templates,
    role_variables,
)
from ansible.module_utils.mi50.preflight.model import FAIL, SKIP, Check
from ansible.module_utils.mi50.stack.load import StackError

DEFAULT_STACK = "rocm-6.4.3"

# Before Ansible forks a process for each host; whoever needs the files meets the error again, with a host to its name.
with contextlib.suppress(StackError):
    read_once(_CHECKOUT / "roles")


class ActionModule(ActionBase):
    """`preflight_inventory:`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Collect this project's variables, check them, never fail for what they hold."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        roles = _CHECKOUT / "roles"
        known = {**role_variables(roles), **SHARED}
        inventory = self._inventory(variables, _names(variables, known, roles))
        stacks_dir = _CHECKOUT / str(inventory.variables.get("mi50_stacks_dir") or "stacks")
        checks = check_inventory(inventory, known, stacks_dir)
        # With one of these wrong the stack cannot be looked up, or the host layer's own arguments are wrong.
        failed = {check.id for check in checks if check.status == FAIL}
        ready = not inventory.broken and not failed & {
            "inventory.stack",
            "stack.lock",
            "inventory.urls",
            "inventory.types",
        }
        if not ready:
            checks.append(Check("host", "Host", SKIP, "not looked at until the inventory is right"))
        result.update(
            changed=False,
            checks=[check.as_dict() for check in checks],
            ready=ready,
        )
        return result

    def _inventory(self, task_vars: dict[str, Any], names: Iterable[str]) -> Inventory:
        values: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for name in names:
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleError as exc:
                broken[name] = " ".join(str(exc).split())
        values.setdefault("mi50_stack", DEFAULT_STACK)
        hostvars = task_vars["hostvars"]
        return Inventory(
            host=task_vars["inventory_hostname"],
            variables=values,
            broken=broken,
            groups=tuple(task_vars.get("group_names", ())),
            hosts=tuple(_entry(name, hostvars[name]) for name in task_vars.get("ansible_play_hosts_all", ())),
        )


def _entry(name: str, hostvars: Any) -> HostEntry:  # noqa: ANN401 - Ansible's own lazy mapping, no public type
    return HostEntry(
        name=name,
        address=str(hostvars.get("ansible_host", name)),
        port=str(hostvars.get("ansible_port", "")),
        connection=str(hostvars.get("ansible_connection", "")),
    )


def _names(task_vars: Mapping[str, Any], known: Mapping[str, Any], roles: Path) -> list[str]:
    """Names of the variables that are the inventory's doing.

    A role's own default that follows a shared setting is right when that setting is, and to evaluate them all would
    cost each host of a play a hundredth of a second.
    """
    ours = prefixes(roles)
    names = sorted(name for name in task_vars if name.startswith(ours))
    exported = exported_variables(roles, [name for name in names if name not in known])
    templates = role_templates(roles)
    return [name for name in names if name not in exported and templates.get(name) != task_vars[name]]
