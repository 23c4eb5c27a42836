# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: the report of benchmark runs. Runs on the controller, opens no connection.

Documented in library/llm_benchmark_report.py.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_CHECKOUT = Path(__file__).resolve().parent.parent
_FORMATS = ("html", "md", "csv", "json")
_PARTS = ("node", "gpu", "engine", "commit", "weights", "driver", "power", "clocks", "backend", "client", "kv", "load")


class ActionModule(ActionBase):
    """`llm_benchmark_report: {sources: [...], dest: ...}`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make the report. Raises AnsibleActionFail with a message for the user."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        dummy, given = self.validate_argument_spec(
            {
                "sources": {"type": "list", "elements": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "against": {"type": "list", "elements": "path", "default": []},
                "across": {"type": "list", "elements": "str", "choices": list(_PARTS), "default": []},
                "title": {"type": "str", "default": "LLM benchmark"},
                "language": {"type": "str", "choices": ["en", "zh"], "default": "en"},
                "formats": {"type": "list", "elements": "str", "choices": list(_FORMATS), "default": list(_FORMATS)},
            }
        )
        build = self._package("build")
        options = build.Options(
            sources=[_CHECKOUT / path for path in given["sources"]],
            dest=_CHECKOUT / given["dest"],
            against=[_CHECKOUT / path for path in given["against"]],
            across=given["across"],
            title=given["title"],
            language=given["language"],
            formats=tuple(given["formats"]),
        )
        try:
            made = build.build(options, dry_run=bool(self._task.check_mode))
        except self._package("records").ReportError as exc:
            raise AnsibleActionFail(str(exc)) from exc
        result.update(
            changed=made.changed,
            files={name: str(path) for name, path in made.files.items()},
            cells=made.cells,
            cells_ok=made.ok,
            statuses=made.statuses,
            problems=made.problems,
            verdicts=made.verdicts,
        )
        return result

    def _package(self, name: str) -> Any:  # noqa: ANN401 - a module, imported where it is needed
        """Import a part of the report: matplotlib takes a second, which only this task shall pay."""
        if str(_CHECKOUT) not in sys.path:
            sys.path.append(str(_CHECKOUT))
        try:
            return importlib.import_module(f"benchreport.{name}")
        except ImportError as exc:
            raise AnsibleActionFail(
                f"the report needs {exc.name or exc} on the controller: pip install -r requirements.txt"
            ) from exc
