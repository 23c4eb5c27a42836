# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role monitoring installs on a node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_monitor
short_description: Files of the role monitoring with their digests
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Checks the settings of the role C(monitoring) for a node and lists the files that the node has, so that a node can
    be compared without sending them.
options:
  _terms:
    description: Variables of the role by their names without C(monitoring_).
    required: true
    type: list
    elements: dict
  contents:
    description: Whether the files carry their contents instead of digests.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be installed
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_monitor', __monitoring_settings) | map(attribute='path') }}"
"""

RETURN = r"""
_raw:
  description: One list per term, of files with C(path), C(mode) and C(sha256), or C(content) when asked for.
  type: list
  elements: list
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import ansible.module_utils
import jinja2
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.addresses import joined
from ansible.module_utils.mi50.monitor.exporter import problems as exporter_problems

_ROLE = _CHECKOUT / "roles" / "monitoring"
_SHARED = _CHECKOUT / "module_utils" / "mi50"
LIBRARY = "/usr/local/lib/mi50-monitor"
MANAGED = "Managed by Ansible (role monitoring); changes are overwritten."
# The collector is modules of this project, laid out on the node as they import each other.
_COLLECTOR = ("__init__", "cards", "engines", "gpus", "node", "text", "throttle")
_UNITS = {
    "mi50-monitor.service.j2": "mi50-monitor.service",
    "mi50-monitor.timer.j2": "mi50-monitor.timer",
    "exporter.conf.j2": "prometheus-node-exporter.service.d/mi50.conf",
}


def files(settings: dict[str, Any]) -> list[dict[str, str]]:
    """Every file of a node: the collector, its units, node-exporter's arguments."""
    modules = [_SHARED / "__init__.py", *sorted((_SHARED / "amdgpu").glob("*.py"))]
    modules += [_SHARED / "monitor" / f"{name}.py" for name in _COLLECTOR]
    found = [
        {
            "path": f"{LIBRARY}/mi50/{path.relative_to(_SHARED)}",
            "mode": "0644",
            "content": path.read_text("utf-8"),
        }
        for path in modules
    ]
    launcher = (_ROLE / "files" / "launcher" / "mi50-monitor").read_text("utf-8")
    found.append({"path": f"{LIBRARY}/mi50-monitor", "mode": "0755", "content": launcher})
    # S701: units are no HTML; escaping would break them.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True)  # noqa: S701
    listen = joined(str(settings["bind"]), settings["port"])
    values = {**settings, "listen": listen, "managed": MANAGED, "library": LIBRARY, "arguments": _arguments(settings)}
    for name, place in _UNITS.items():
        template = environment.from_string((_ROLE / "templates" / name).read_text("utf-8"))
        found.append({"path": f"/etc/systemd/system/{place}", "mode": "0644", "content": template.render(values)})
    return found


def _arguments(settings: dict[str, Any]) -> str:
    words = ["--metrics", f"{settings['metrics_dir']}/mi50_monitor.prom"]
    for name in ("sysfs", "proc", "dev"):
        words += [f"--{name}-root", str(settings[f"{name}_root"])]
    if settings["expected"] is not None:
        words += ["--expected", str(settings["expected"])]
    return " ".join(words)


def digested(file: dict[str, str]) -> dict[str, str]:
    """A file with the digest of its content instead of it."""
    digest = sha256(file["content"].encode()).hexdigest()
    return {"path": file["path"], "mode": file["mode"], "sha256": digest}


class LookupModule(LookupBase):
    """`lookup('mi50_monitor', settings)`."""

    def run(
        self, terms: list[dict[str, Any]], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[list[dict[str, str]]]:
        """Return one list per term. Raises AnsibleError for settings that leave the exporter open."""
        self.set_options(var_options=variables, direct=kwargs)
        contents = bool(self.get_option("contents"))
        plans = []
        for term in terms:
            # Plain data: the template engine's own types are no plain text.
            settings = json.loads(json.dumps(term))
            problems = exporter_problems(settings)
            if problems:
                raise AnsibleError("; ".join(problems))
            plans.append([file if contents else digested(file) for file in files(settings)])
        return plans
