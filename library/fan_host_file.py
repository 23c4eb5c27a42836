#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module fan_host_file; the logic is in module_utils/mi50/fan/variables.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fan_host_file
short_description: Write what mapping or calibration found into a host's variables
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Runs on the controller. Turns the output of C(mi50-fand map) or C(mi50-fand calibrate) into C(fan_control_blowers).
options:
  path:
    description: The file of variables, this module's own. An older version of it is kept beside it.
    type: path
    required: true
  channels:
    description: What C(mi50-fand map) saw.
    type: list
    elements: dict
  measured:
    description: What C(mi50-fand calibrate) measured, by name of the blower.
    type: dict
  blowers:
    description: The host's blowers so far, for O(measured).
    type: list
    elements: dict
    default: []
  gpus:
    description: PCI addresses of the host's cards, for O(channels).
    type: list
    elements: str
    default: []
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
    platforms: posix
"""

EXAMPLES = r"""
- name: Keep what was measured
  fan_host_file:
    path: "{{ inventory_dir }}/host_vars/{{ inventory_hostname }}/fan_control.yml"
    measured: "{{ __measured.stdout | from_json }}"
    blowers: "{{ fan_control_blowers }}"
  delegate_to: localhost
"""

RETURN = r"""
blowers:
  description: What O(path) now gives for C(fan_control_blowers).
  returned: success
  type: list
  elements: dict
  sample: [{name: nct6798-2, chip: nct6798, channel: 2, tacho: 2, gpus: ["0000:03:00.0"]}]
remarks:
  description: What the reader should look at.
  returned: success
  type: list
  elements: str
  sample: []
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import config_files
from ansible.module_utils.mi50.fan import variables

HEAD = "---\n# Written by playbooks/fan_map.yml and playbooks/fan_calibrate.yml; edit as you like.\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "channels": {"type": "list", "elements": "dict"},
            "measured": {"type": "dict"},
            "blowers": {"type": "list", "elements": "dict", "default": []},
            "gpus": {"type": "list", "elements": "str", "default": []},
        },
        required_one_of=[["channels", "measured"]],
        mutually_exclusive=[["channels", "measured"]],
        supports_check_mode=True,
    )
    given = module.params
    remarks: list[str] = []
    try:
        if given["measured"] is not None:
            found = variables.calibrated(given["blowers"], given["measured"])
        else:
            found, remarks = variables.blowers(given["channels"], given["gpus"])
    except variables.Unclear as error:
        module.fail_json(msg=str(error))
    # One blower a line, as JSON, which is YAML too: the controller's PyYAML is not this interpreter's to have.
    lines = "".join(f"  - {json.dumps(blower)}\n" for blower in found)
    path = Path(given["path"])
    changes = config_files.plan([config_files.File(path, f"{HEAD}fan_control_blowers:\n{lines}")])
    if changes and not module.check_mode:
        if changes[0].before is not None:
            config_files.write(path.with_name(f"{path.name}.old"), changes[0].before.encode())
        config_files.apply(changes)
    module.exit_json(changed=bool(changes), blowers=found, remarks=remarks, diff=[change.diff() for change in changes])


if __name__ == "__main__":
    main()
