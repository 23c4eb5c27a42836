# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: with `optional`, a host that cannot be reached keeps its key, and the others go on.

Documented in library/key_seal.py.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """`key_seal: {public_key: …, files: …, optional: true}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module. Raises AnsibleConnectionFailure where the key is not optional."""
        super().run(tmp, task_vars)
        try:
            found: dict[str, Any] = self._execute_module(module_name="key_seal", task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            if not boolean(self._task.args.get("optional", False)):
                raise
            Display().warning(f"key_seal: {error}")
            return {"changed": False, "sealed": {}, "there": []}
        return found

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files; of a host that cannot be reached, nothing."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure as error:
            Display().vv(f"key_seal: {error}")
