# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: fetch models with live progress, so that the download outlives this connection.

Documented in library/model.py.
"""

from __future__ import annotations

import json
import os
import time
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

from ansible.module_utils.mi50.background import begin, result
from ansible.module_utils.mi50.models.progress import DEFAULT, line

_WEEK = 7 * 86400
_ASK_EVERY = 30  # looks at the progress, after which the job itself is asked
_LONGEST_PAUSE = 5.0
_LOST_S = 900.0


class ActionModule(ActionBase):
    """`model: {models: [...], absent: [...]}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look first, with one call; fetch in the background when something is lacking. Raises AnsibleActionFail."""
        base: dict[str, Any] = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        self._parent = os.getppid()
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
        """Show the progress until the job has a result, through breaks of the connection."""
        shown, pause, looks, seen = "", 0.3, 0, time.monotonic()
        while True:
            time.sleep(pause)
            pause, looks = min(pause * 1.5, _LONGEST_PAUSE), looks + 1
            if os.getppid() != self._parent:
                raise AnsibleActionFail("ansible-playbook was killed; the download goes on on the node.")
            text, done = self._peek(progress, str(job.get("results_file") or ""))
            if text and text != shown:
                self._say(text)
                shown = text
            if not done and looks % _ASK_EVERY:
                seen = time.monotonic() if done is not None else seen
                continue
            try:
                found = result(self, job, self._variables, AnsibleConnectionFailure, "models")
            except AnsibleConnectionFailure as exc:
                if time.monotonic() - seen > _LOST_S:
                    raise
                self._say(f"does not answer ({exc}); the download goes on there")
                continue
            if found is not None:
                return found
            seen = time.monotonic()

    def _peek(self, progress: str, results: str) -> tuple[str, bool | None]:
        """Progress as a line, and whether the job has ended (None: no answer). No Python is started on the node."""
        command = f"cat '{progress}' 2>/dev/null; echo; echo @@@; head -c 300 '{results}'"
        try:
            said = str(self._low_level_execute_command(command).get("stdout", ""))
        except AnsibleConnectionFailure:
            self._connection.reset()
            return "", None
        first, dummy, rest = said.partition("@@@")
        job = _read(rest)
        return line(_read(first)), not job or bool(job.get("finished", "ansible_job_id" not in job))

    def _module(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name="model", module_args=arguments, task_vars=self._variables
        )
        return found

    def _say(self, text: str) -> None:
        Display().display(f"{self._variables.get('inventory_hostname', '')}: {text}")


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
