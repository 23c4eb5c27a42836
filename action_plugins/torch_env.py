# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: torch is fetched and installed with live progress, gigabytes that outlive this connection.

Documented in library/torch_env.py.
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
from ansible.module_utils.mi50.models.progress import line

_DAY = 86400
_PROGRESS = "/run/mi50-aipc/torch.json"


class ActionModule(ActionBase):
    """`torch_env: {step: build, ...}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module; what takes minutes, in the background. Raises AnsibleActionFail."""
        base: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        given = dict(self._task.args)
        if self._task.check_mode or given.get("step") != "build" or given.get("state") == "absent":
            found = self._execute_module(module_name="torch_env", module_args=given, task_vars=self._variables)
            return {**base, **found}
        job = begin(self, "torch_env", given, self._variables, _DAY)
        if not job.get("ansible_job_id"):
            raise AnsibleActionFail(str(job.get("msg") or job))
        follower = Follower(self, self._variables, AnsibleConnectionFailure, "generation", line, self._say)
        try:
            return {**base, **follower.follow(job, str(given.get("progress") or _PROGRESS))}
        except Abandoned:
            raise AnsibleActionFail("ansible-playbook was killed; torch is installed on the node anyway") from None

    def _say(self, text: str) -> None:
        Display().display(f"{self._variables.get('inventory_hostname', '')}: {text}")
