# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: merge the layers of the preflight into one report, write it on the controller, show it, judge.

Documented in library/preflight_report.py.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.preflight.model import ERROR, FAIL, STATUSES, WARN, build_report
from ansible.module_utils.mi50.preflight.render import failure_message, table

_COLORS = {FAIL: "red", ERROR: "red", WARN: "yellow"}


class ActionModule(ActionBase):
    """`preflight_report: {checks: [...], dir: ...}`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("checks", "dir", "fail", "name"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Merge, write, show, judge. Raises AnsibleActionFail for arguments that are no checks."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        if not arguments.get("dir") or "checks" not in arguments:
            raise AnsibleActionFail("preflight_report needs checks (a list) and dir (a folder on the controller)")
        host = str((task_vars or {})["inventory_hostname"])
        report = build_report(host, _flatten(arguments["checks"]))
        path = write_report(_CHECKOUT / Path(str(arguments["dir"])).expanduser(), host, report)
        name = str(arguments.get("name") or "preflight")
        self._show(name, report)
        result.update(report, path=str(path), changed=False)
        if not report["ok"] and boolean(arguments.get("fail", True)):
            del result["checks"]  # the table shows them; Ansible would print them all once more
            result.update(failed=True, msg=failure_message(name, report, str(path)))
        return result

    def _show(self, name: str, report: dict[str, Any]) -> None:
        # One call: lines of hosts that report at the same moment must not mix.
        worst = next((s for s in _COLORS if any(c["status"] == s for c in report["checks"])), None)
        display = Display()
        lines = table(name, report, full=display.verbosity > 0)
        display.display("\n".join(lines), color=_COLORS[worst] if worst else "green")


def _flatten(checks: object) -> list[dict[str, str]]:
    """Return plain checks from a list of checks or of lists of checks. Raises AnsibleActionFail for anything else."""
    if isinstance(checks, dict):
        if checks.get("status") not in STATUSES or not isinstance(checks.get("id"), str):
            raise AnsibleActionFail(f"preflight_report: not a check: {dict(checks)!r}")
        return [{key: str(checks.get(key, "")) for key in ("id", "title", "status", "found", "expected", "remedy")}]
    if isinstance(checks, (list, tuple)):
        return [check for item in checks for check in _flatten(item)]
    raise AnsibleActionFail(f"preflight_report: checks: {checks!r} is not a list of checks")


def write_report(folder: Path, host: str, report: dict[str, Any]) -> Path:
    """Write the report of one host for its owner's eyes (it names hosts and addresses); return the path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', host)}.json"
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".preflight.")  # 0600 from the start
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(report, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
    Path(temporary).replace(path)
    return path
