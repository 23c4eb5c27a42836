# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: fetch models with live progress, so that the download outlives this connection.

Documented in library/model.py.
"""

from __future__ import annotations

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

from ansible.module_utils.mi50.background import Abandoned, Follower, begin
from ansible.module_utils.mi50.models.progress import DEFAULT, line

_WEEK = 7 * 86400


class ActionModule(ActionBase):
    """`model: {models: [...], absent: [...]}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look first, with one call; fetch in the background when something is lacking. Raises AnsibleActionFail."""
        base: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        given = dict(self._task.args)
        if self._task.check_mode or given.get("look") or given.get("reread"):
            return {**base, **self._module(given)}
        seen = self._module({**given, "look": True})
        if not seen.get("lacking"):  # settled, or refused
            return {**base, **seen}
        self._say(f"lacks {', '.join(seen['lacking'])}")
        return {**base, **self._follow(self._begin(given), str(given.get("progress") or DEFAULT))}

    def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        started = begin(self, "model", given, self._variables, _WEEK)
        if not started.get("ansible_job_id"):
            raise AnsibleActionFail(str(started.get("msg") or started))
        return started

    def _follow(self, job: dict[str, Any], progress: str) -> dict[str, Any]:
        follower = Follower(self, self._variables, AnsibleConnectionFailure, "models", line, self._say)
        try:
            return follower.follow(job, progress)
        except Abandoned:
            raise AnsibleActionFail("ansible-playbook was killed; the download goes on on the node.") from None

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="model", module_args=arguments, task_vars=self._variables
        )
        return found

    def _say(self, text: str) -> None:
        Display().display(f"{self._variables.get('inventory_hostname', '')}: {text}")
