# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: a service is made ready in the background of its node, with live progress here.

A model may load for many minutes: the work outlives a broken connection, and every host says how far it is.
Documented in library/llm_service.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.background import begin, result

_MODULE = "llm_service"
_LOST = 600.0  # seconds that a host may be away before it is given up; the work goes on there
_SPARE = 900  # seconds beside the loading: unpacking, giving VRAM back, and the old version's start when the new fails
# The same where an image of 30 GB or an environment's wheels come over a line, and a version is rehearsed first.
_FETCHING = 6 * 3600
_POLL = 2.0


class ActionModule(ActionBase):
    """`llm_service: {name: ..., options: {...}}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan in one call, and work in the background if there is anything to do. Raises AnsibleActionFail."""
        super().run(tmp, task_vars)
        self._variables = task_vars or {}
        self._parent = os.getppid()
        arguments = dict(self._task.args)
        if arguments.get("state", "present") != "present" or boolean(arguments.get("plan_only", False)):
            return self._module(arguments)
        planned = self._module({**arguments, "plan_only": True})
        if planned.get("failed") or self._task.check_mode or not planned.get("changed"):
            return planned
        name = str(arguments.get("name"))
        host = str(self._variables["inventory_hostname"])
        Display().display(
            f"{host}: {name}: {len(planned['reasons'])} things to do, among them {planned['reasons'][-1]}"
        )
        found = self._wait(self._begin(arguments), f"{host}: {name}", f"/run/mi50-aipc/serve/{name}.progress")
        if not found.get("failed"):
            proof = found.get("proof") or {}
            speed = f"{proof['tokens_per_second']} tokens/s, " if proof.get("tokens_per_second") else ""
            Display().display(f"{host}: {name}: ready, {speed}{proof.get('seconds', 0):.0f} s after its start")
        return found

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files; a host that went away must not turn its result into `unreachable`."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure as exc:
            Display().vv(f"{self._task.action}: {exc}")

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args=arguments, task_vars=self._variables
        )
        return found

    def _begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Start the work so that it outlives this connection."""
        brings = any((arguments.get("options") or {}).get(name) for name in ("image", "wheel"))
        loads, spare = (4, _FETCHING) if brings else (2, _SPARE)
        seconds = int(float(arguments.get("load_timeout") or 900) * loads + spare)
        job = begin(self, _MODULE, arguments, self._variables, seconds)
        if not job.get("ansible_job_id"):
            raise AnsibleActionFail(f"{arguments.get('name')}: {job.get('msg') or 'the work could not be started'}")
        return job

    def _wait(self, job: dict[str, Any], title: str, progress: str) -> dict[str, Any]:
        """Show progress until the work is done. Raises AnsibleActionFail when the host stays away."""
        shown, seen = 0, time.monotonic()
        while True:
            time.sleep(_POLL)
            if os.getppid() != self._parent:
                raise AnsibleActionFail("ansible-playbook was killed; the work goes on on the host")
            try:
                shown = self._show(title, progress, shown)
                found = result(self, job, self._variables, AnsibleConnectionFailure)
            except AnsibleConnectionFailure as exc:
                if time.monotonic() - seen > _LOST:
                    raise AnsibleActionFail(f"{title}: the host went away: {exc}") from exc
                self._reset()
                continue
            seen = time.monotonic()
            if found is not None:
                self._show(title, progress, shown)
                return found

    def _show(self, title: str, progress: str, shown: int) -> int:
        """Print what is new in the node's progress file; returns how many lines are known now."""
        done = self._low_level_execute_command(f"cat {progress} 2>/dev/null || true")
        lines = str(done.get("stdout") or "").splitlines()
        for line in lines[shown:]:
            Display().display(f"{title}: {line.strip()}")
        return max(shown, len(lines))

    def _reset(self) -> None:
        """Drop a connection that is broken; the next call opens another."""
        try:
            self._connection.reset()
        except (AnsibleConnectionFailure, AttributeError):
            return
