# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: which run this is. Runs on the controller, opens no connection.

Documented in library/benchmark_run.py.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.benchrun.register import Register, RegisterError


class ActionModule(ActionBase):
    """`benchmark_run: {state: begun, dir: ..., what: {...}}`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("state", "dir", "id", "what", "against"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin, resume or finish a run. Raises AnsibleActionFail."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        register = Register(_CHECKOUT / str(given["dir"]))
        now = datetime.now(timezone.utc)
        for folder in given.get("against") or []:
            # Said now, not after an hour of measuring.
            if not (_CHECKOUT / str(folder)).is_dir():
                raise AnsibleActionFail(f"benchmark_against: there is no run in {folder}; runs are in {given['dir']}")
        try:
            if given.get("state", "begun") == "finished":
                register.finish(str(given["id"]), now)
                return {**result, "changed": False, "id": given["id"]}
            # Plugins run in children of ansible-playbook.
            options = {"dry": self._task.check_mode, "harness": _CHECKOUT, "caller": str(os.getppid())}
            found = register.begin(str(given.get("id") or ""), given["what"], now, **options)
        except RegisterError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        return {**result, "changed": False, **found}
