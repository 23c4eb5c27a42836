# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role fan_control installs and configures."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_fan
short_description: The fan daemon's files and configuration, checked by the daemon's own rules
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns the settings of the role C(fan_control) into the daemon's configuration and checks it on the controller.
  - Lists every file that a node shall have, with its SHA-256, so that a node can be compared without sending them.
options:
  _terms:
    description: Variables of the role by their names without C(fan_control_).
    required: true
    type: list
    elements: dict
  contents:
    description: Whether C(files) carry their contents instead of digests.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the channels that the daemon would own
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_fan', __fan_control_settings).channels }}"
"""

RETURN = r"""
_raw:
  description:
    - C(config), the text of config.json, and C(channels), the channel list of the fail-safe; empty without blowers.
    - C(files), each with C(path), C(mode) and C(sha256), or C(content) when asked for.
    - C(package), the folder of the daemon's package on the node.
    - C(warnings), what the daemon would say about a configuration that it takes.
    - C(unmeasured), names of the blowers without a calibration.
  type: list
  elements: dict
"""

import json
import sys
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

from ansible.module_utils.mi50.fan.settings import build

_SHIPPED = _CHECKOUT / "roles" / "fan_control" / "files"
_TEMPLATES = _SHIPPED.parent / "templates"
LIBRARY = "/usr/local/lib/mi50-fand"
MANAGED = "Managed by Ansible (role fan_control); changes are overwritten."
# Folder of the role's files -> where they go, and their mode.
_PLACES = (
    ("mi50_fand", f"{LIBRARY}/mi50_fand", "0644"),
    ("failsafe", LIBRARY, "0755"),
    ("launcher", "/usr/local/bin", "0755"),
)


def shipped() -> list[dict[str, str]]:
    """Every file that is the same on all nodes."""
    found = [{"path": f"{LIBRARY}/README.md", "mode": "0644", "content": (_SHIPPED / "README.md").read_text("utf-8")}]
    for folder, target, mode in _PLACES:
        for path in sorted((_SHIPPED / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                where = f"{target}/{path.relative_to(_SHIPPED / folder)}"
                found.append({"path": where, "mode": mode, "content": path.read_text("utf-8")})
    return found


def guardian_arguments(settings: dict[str, Any]) -> str:
    """What the guardian is started with."""
    words = ["--sysfs-root", settings["sysfs_root"], "--high", settings["guardian_high"]]
    words += ["--critical", settings["guardian_critical"]]
    if settings["metrics_dir"]:
        words += ["--metrics", f"{settings['metrics_dir']}/mi50_fan_guardian.prom"]
    if settings["alarm_program"]:
        words += ["--alarm", settings["alarm_program"]]
    return " ".join(str(word) for word in words)


def rendered(settings: dict[str, Any]) -> list[dict[str, str]]:
    """The units and, where modules are named, their list. Not Ansible's templates: a role may be asked from another."""
    # S701: units are no HTML; escaping would break them.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True)  # noqa: S701
    values = {
        "managed": MANAGED,
        "library": LIBRARY,
        "launcher": "/usr/local/bin/mi50-fand",
        "config": "/etc/mi50-fand/config.json",
        "channels": "/etc/mi50-fand/channels",
        "guardian_arguments": guardian_arguments(settings),
        **settings,
    }
    found = [
        {
            "path": f"/etc/systemd/system/{path.stem}",
            "mode": "0644",
            "content": environment.from_string(path.read_text("utf-8")).render(values),
        }
        for path in sorted(_TEMPLATES.glob("*.j2"))
    ]
    if settings["modules"]:
        lines = [f"# {MANAGED}", *settings["modules"], ""]
        found.append({"path": "/etc/modules-load.d/mi50-fand.conf", "mode": "0644", "content": "\n".join(lines)})
    return found


def described(files: list[dict[str, Any]], contents: bool) -> list[dict[str, str]]:
    """Files with what is in them, or with the digest of it."""
    found = []
    for file in files:
        entry = {"path": str(file["path"]), "mode": str(file.get("mode", "0644"))}
        text = str(file["content"])
        found.append({**entry, "content": text} if contents else {**entry, "sha256": sha256(text.encode()).hexdigest()})
    return found


def configured(settings: dict[str, Any]) -> dict[str, Any]:
    """Configuration, channel list and warnings. Raises AnsibleError with every mistake the daemon would refuse."""
    if not settings["blowers"]:
        return {"config": "", "channels": "", "warnings": [], "unmeasured": []}
    if str(_SHIPPED) not in sys.path:
        sys.path.append(str(_SHIPPED))
    from mi50_fand import config  # noqa: PLC0415 - only a node with blowers needs it

    text = json.dumps(build(settings), indent=2, sort_keys=True) + "\n"
    try:
        parsed = config.parse(text)
    except config.ConfigError as error:
        lines = "\n".join(f"  fan_control_{line}" for line in error.problems)
        raise AnsibleError(f"the fan settings of this host are refused:\n{lines}") from error
    unmeasured = [blower.name for blower in parsed.blowers if blower.controlled and not blower.calibration]
    channels = parsed.channel_list()
    return {"config": text, "channels": channels, "warnings": parsed.warnings, "unmeasured": unmeasured}


class LookupModule(LookupBase):
    """`lookup('mi50_fan', settings)`."""

    def run(
        self, terms: list[dict[str, Any]], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[dict[str, Any]]:
        """Return one plan per term. Raises AnsibleError with a message for the user."""
        self.set_options(var_options=variables, direct=kwargs)
        plans = []
        for term in terms:
            # Plain data: the template engine's own types are not what the daemon's checks expect.
            settings = json.loads(json.dumps(term))
            plan = configured(settings)
            own = [
                {"path": f"/etc/mi50-fand/{name}", "mode": "0644", "content": plan[key]}
                for name, key in (("config.json", "config"), ("channels", "channels"))
                if plan[key]
            ]
            plan["package"] = f"{LIBRARY}/mi50_fand"
            plan["files"] = described([*shipped(), *rendered(settings), *own], bool(self.get_option("contents")))
            plans.append(plan)
        return plans
