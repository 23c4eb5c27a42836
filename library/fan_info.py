#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module fan_info; the logic is in module_utils/mi50/fan/question.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fan_info
short_description: What a node has and lacks of its fan daemon
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - One call tells everything that the role C(fan_control) decides on.
  - Compares files by digest, asks systemd for the daemon's units and for other fan daemons,
    reads the daemon's heartbeat and lists the board's fan chips.
options:
  files:
    description: Files that the node shall have.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      sha256:
        description: Digest of its content.
        type: str
        required: true
      mode:
        description: Octal mode.
        type: str
        required: true
  package:
    description: Folder of the daemon's Python package. Python files in it that are not in O(files) are left over.
    type: path
    required: true
  enabled:
    description: Units that shall be enabled.
    type: list
    elements: str
    default: []
  active:
    description: Units that shall be active.
    type: list
    elements: str
    default: []
  config:
    description: The daemon's configuration.
    type: path
    default: /etc/mi50-fand/config.json
  heartbeat:
    description: The daemon's heartbeat.
    type: path
    default: /run/mi50-fand/heartbeat
  mapped:
    description: Whether blowers are configured, so that a heartbeat is expected.
    type: bool
    required: true
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: See what fans the board has and who governs them
  fan_info:
    package: /usr/local/lib/mi50-fand/mi50_fand
    mapped: false
  register: __fan_info
"""

RETURN = r"""
settled:
  description: Whether nothing is left to do.
  returned: always
  type: bool
  sample: true
differing:
  description: Paths of O(files) that are missing or differ in content or mode.
  returned: always
  type: list
  elements: str
  sample: [/etc/mi50-fand/config.json]
left_over:
  description: Files of an older version of the package.
  returned: always
  type: list
  elements: str
  sample: []
units:
  description: C(load), C(active), C(enabled) and C(stale) of each own unit.
  returned: always
  type: dict
  sample: {mi50-fand.service: {load: loaded, active: active, enabled: enabled, stale: false}}
rivals:
  description: Other fan daemons that run or are enabled, with the command that ends them.
  returned: always
  type: list
  elements: dict
  sample: [{unit: thinkfan.service, program: thinkfan, state: active, remedy: systemctl disable --now thinkfan.service}]
configured:
  description: Whether there is a configuration.
  returned: always
  type: bool
  sample: true
heartbeat:
  description: Age in seconds and state of the daemon's last verified cycle.
  returned: when there is one
  type: dict
  sample: {age_s: 0.7, state: ok}
chips:
  description: Fan chips with their device below the sysfs root and the numbers of their channels.
  returned: always
  type: list
  elements: dict
  sample: [{name: nct6798, device: devices/platform/nct6775.656, channels: [1, 2, 3]}]
problems:
  description: What stands between this node and blowers that are governed.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.fan import question


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=question.SPEC, supports_check_mode=True)

    def run(command: list[str]) -> tuple[int, str]:
        code, output, dummy = module.run_command(command, environ_update={"LC_ALL": "C"})
        return code, output

    try:
        result = question.answer(module.params, run)
    except question.Unanswered as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
