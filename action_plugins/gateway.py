# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: waits for a node's streams to end, or its engines to be ready, and shows how far it is.

Documented in library/gateway.py.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_MODULE = "gateway"
_STEP = 10.0  # seconds of one call


class ActionModule(ActionBase):
    """`gateway: {state: drained, node: node3, seconds: 900}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module; for a node, again until it is done or the time is up."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        state, node = str(arguments.get("state", "present")), str(arguments.get("node", ""))
        if boolean(arguments.get("optional", False)):
            return self._ask(arguments, task_vars)
        if state not in ("drained", "ready") or self._task.check_mode:
            return self._call(arguments, task_vars)
        begin, limit = time.monotonic(), float(arguments.get("seconds", _STEP))
        changed = False
        while True:
            left = limit - (time.monotonic() - begin)
            found = self._call({**arguments, "seconds": max(0.0, min(_STEP, left))}, task_vars)
            if found.get("failed"):
                return found
            changed = changed or bool(found.get("changed"))
            found["changed"] = changed
            seconds = time.monotonic() - begin
            what = f"{found['sessions']} streams left" if state == "drained" else "; ".join(found["waiting"])
            if not (found["sessions"] if state == "drained" else found["waiting"]):
                return found
            if seconds >= limit:
                found.update(failed=True, msg=_late(state, node, what, limit))
                return found
            Display().display(f"{node}: {what}, {seconds:.0f} s")

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """One call, of a gateway that may be out of reach or out of order."""
        try:
            found = self._call(arguments, task_vars)
        except AnsibleConnectionFailure as error:
            found = {"failed": True, "msg": str(error)}
        if not found.get("failed"):
            return found
        Display().warning(f"gateway: {found.get('msg')}")
        return {"changed": False, "node_state": "silent", "servers": {}}

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files; of a host that cannot be reached, nothing."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure as error:
            Display().vv(f"gateway: {error}")

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)
        return found


def _late(state: str, node: str, what: str, limit: float) -> str:
    if state == "drained":
        return (
            f"{node} is drained, but after {limit:.0f} s there are {what}. It gets nothing new. Run again to wait on, "
            "raise gateway_drain_timeout, or take it back: playbooks/ready.yml"
        )
    return (
        f"{node} is not ready {limit:.0f} s after its roles: {what}. It stays drained, the others serve. When it is "
        "mended: playbooks/ready.yml"
    )
