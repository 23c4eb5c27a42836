# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: a node's part of the support bundle, the controller's part, scrubbed, in one archive.

Documented in library/support_bundle.py.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible.utils.display import Display

_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.bundle import controller, pack
from ansible.module_utils.mi50.bundle.collect import clean
from ansible.module_utils.mi50.bundle.scrub import Scrubber, summary
from ansible.module_utils.mi50.preflight.known import SHARED, role_variables


class ActionModule(ActionBase):
    """`support_bundle: {dir: ...}`."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("dir", "reports"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Collect, scrub, write, show. Raises AnsibleActionFail when a known secret would be in the archive."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        host = str(variables["inventory_hostname"])
        if not self._task.args.get("dir"):
            raise AnsibleActionFail("support_bundle needs dir, a folder on the controller")
        node = self._node(variables)
        if "files" not in node:
            return node
        inventory = controller.inventory(variables, self._settings(variables), _CHECKOUT / "stacks")
        scrubber = Scrubber(inventory.known, prefix="inventory-")
        own = controller.files(_CHECKOUT, self._folder("reports", "reports"), host, inventory.settings, __version__)
        files = {name: clean(text, scrubber) for name, text in {**node["files"], **own}.items()}
        leaks = {name: kinds for name, text in files.items() if (kinds := scrubber.leaks(text))}
        if leaks:
            raise AnsibleActionFail(
                f"no bundle was written: {', '.join(sorted(leaks))} would tell {leaks}. Report this"
            )
        counts = {
            kind: node["counts"].get(kind, 0) + scrubber.counts.get(kind, 0)
            for kind in sorted({*node["counts"], *scrubber.counts})
        }
        rows = pack.listing(files, node["absent"])
        files["README.txt"] = pack.README.format(summary=summary(counts), listing=rows)
        result.update(changed=False, listing=rows.splitlines(), counts=counts)
        if not self._task.check_mode:
            now = int(time.time())
            name = f"node-{inventory.number}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
            path = self._folder("dir", "") / f"{name}.tar.gz"
            result.update(path=str(path), bytes=pack.write(path, name, files, now))
        self._show(host, result, counts)
        return result

    def _node(self, variables: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {"public": controller.public(_CHECKOUT / "stacks")}
        for name in ("sysfs", "proc", "dev"):
            value = variables.get(f"mi50_{name}_root")
            if value:
                given[f"{name}_root"] = self._templar.template(value)
        tokens = variables.get("models_token_files")
        if tokens:
            given["token_files"] = list(self._templar.template(tokens).values())
        found: dict[str, Any] = self._execute_module("support_collect", module_args=given, task_vars=variables)
        return found

    def _settings(self, variables: dict[str, Any]) -> dict[str, Any]:
        """What the inventory sets of roles' variables, evaluated; what cannot be is said so."""
        found: dict[str, Any] = {}
        for name in sorted({*SHARED, *role_variables(_CHECKOUT / "roles")} & set(variables)):
            try:  # a broken template may be just what the bundle is for
                found[name] = self._templar.template(variables[name])
            except Exception as error:
                found[name] = f"[cannot be evaluated: {type(error).__name__}]"
        return found

    def _folder(self, option: str, default: str) -> Path:
        return _CHECKOUT / Path(str(self._task.args.get(option) or default)).expanduser()

    def _show(self, host: str, result: dict[str, Any], counts: dict[str, int]) -> None:
        lines = [f"support bundle of {host}:", *result["listing"], f"  taken out: {summary(counts)}"]
        if "path" in result:
            lines.append(f"  {result['path']} ({result['bytes'] / 1024:.0f} KiB). Look into it before you hand it on.")
        Display().display("\n".join(lines))
