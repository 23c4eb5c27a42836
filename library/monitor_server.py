#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module monitor_server; the logic is in module_utils/mi50/monitor/switch.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_server
short_description: Give Prometheus and Alertmanager a configuration that their own tools have judged
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Stages configuration, rules and keys in a folder of their own, has C(promtool) and C(amtool) check them, switches
    over by one link, and waits until the servers say that they have read them. What is refused changes nothing; what a
    server does not take is taken back.
  - Where the tools are not installed yet, O(plan_only) and check mode tell what would change.
options:
  base:
    description: Folder of the configurations.
    type: path
    default: /etc/mi50-aipc/monitoring
  files:
    description: Text of each file by its path in the folder.
    type: dict
    required: true
  secrets:
    description: The same for files that hold secrets. They are never shown.
    type: dict
    default: {}
  keys:
    description: Names of the keys that are needed. One that is not in O(sealed) stays as it is.
    type: list
    elements: str
    default: []
  sealed:
    description: Keys by name, as M(key_seal) returns them.
    type: dict
    default: {}
  promised:
    description: Names of keys that could be sealed. With O(plan_only) and in check mode they are taken for granted.
    type: list
    elements: str
    default: []
  pair:
    description: The pair that they were sealed for.
    type: path
    default: /etc/mi50-aipc/keys/monitoring.pem
  user:
    description: The user that the servers run as.
    type: str
    default: prometheus
  bind:
    description: Address that Prometheus listens on.
    type: str
    default: 127.0.0.1
  port:
    description: Port of Prometheus.
    type: int
    default: 9090
  alertmanager_port:
    description: Port of Alertmanager; 0 for none.
    type: int
    default: 0
  plan_only:
    description: Whether to tell what would change and no more, as in check mode.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
seealso:
  - module: key_pair
  - module: key_seal
"""

EXAMPLES = r"""
- name: Watch one node
  monitor_server:
    files:
      prometheus.yml: |
        scrape_configs:
          - {job_name: node, static_configs: [{targets: ["192.0.2.7:9100"]}]}
"""

RETURN = r"""
changed_files:
  description: Files that are new, changed or gone.
  returned: always
  type: list
  elements: str
  sample: [prometheus.yml]
generation:
  description: Name of the configuration's folder.
  returned: always
  type: str
  sample: 9f2b6c1d0e8a4b57
"""

import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process, seal
from ansible.module_utils.mi50.addresses import local
from ansible.module_utils.mi50.monitor import switch
from ansible.module_utils.mi50.monitor.keys import opened

_UNITS = ("prometheus.service", "prometheus-alertmanager.service")


def servers(bind: str, port: int, alertmanager: int) -> list[switch.Server]:
    """Alertmanager first: Prometheus tells it what it finds."""
    found = [switch.Server(_UNITS[1], alertmanager, switch.ALERTMANAGER_API)] if alertmanager else []
    return [*found, switch.Server(_UNITS[0], port, switch.PROMETHEUS_API, local(bind))]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "base": {"type": "path", "default": "/etc/mi50-aipc/monitoring"},
            "files": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            # Ciphertext: it shows nothing.
            "sealed": {"type": "dict", "default": {}, "no_log": False},
            "promised": {"type": "list", "elements": "str", "default": []},
            "pair": {"type": "path", "default": "/etc/mi50-aipc/keys/monitoring.pem"},
            "user": {"type": "str", "default": "prometheus"},
            "bind": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 9090},
            "alertmanager_port": {"type": "int", "default": 0},
            "plan_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: list[str]) -> tuple[int, str]:
        code, output, errors = module.run_command(command, environ_update={"LC_ALL": "C"})
        return code, f"{output}\n{errors}"

    base = Path(given["base"])
    asked = servers(given["bind"], given["port"], given["alertmanager_port"])
    planned = module.check_mode or given["plan_only"]
    try:
        promised = given["promised"] if planned else []
        keys = opened(given["keys"], given["sealed"], Path(given["pair"]), process.run, promised)
        module.no_log_values.update(key for key in keys.values() if key)
        todo = switch.plan(base, switch.Wanted(given["files"], given["secrets"], keys))
        down = [one.unit for one in asked if switch.ask(one) is None]
        if not planned:
            if todo.changed:
                entry = pwd.getpwnam(given["user"])
                switch.prove(switch.stage(base, todo, (entry.pw_uid, entry.pw_gid)), run)
                switch.switch(base, todo, asked, run)
            for one in asked if down and not todo.changed else ():
                switch.take(one, run)
    except KeyError:
        module.fail_json(msg=f"there is no user {given['user']}: is the package prometheus installed?")
    except (switch.SwitchError, seal.SealError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(todo.changed or down), changed_files=todo.changed, generation=todo.digest, diff=todo.diff
    )


if __name__ == "__main__":
    main()
