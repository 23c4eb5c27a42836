#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module gpu_power_info; the logic is in module_utils/mi50/power/question.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_power_info
short_description: Power caps and performance levels of a node's cards against what is wanted
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - One call tells everything that the role C(gpu_power) decides on.
  - Fails when a card cannot take what is wanted of it.
options:
  cap_watts:
    description: Power cap of every gfx906 card in watts. Left alone when omitted.
    type: int
  level:
    description: Performance level of every gfx906 card. Left alone when omitted.
    type: str
  cards:
    description: Other values for single cards. PCI address to C(cap_watts) and C(level).
    type: dict
    default: {}
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
  list:
    description: The list of wishes that the script on the node reads.
    type: path
    default: /etc/mi50-aipc/gpu-power
  unit:
    description: The unit that sets them.
    type: str
    default: mi50-gpu-power.service
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  fan_runtime:
    description: Where the fan daemon says whose cap its ladder holds. Such a cap counts as wanted.
    type: path
    default: /run/mi50-fand
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
- name: See what the cards allow and have
  gpu_power_info:
  register: __power
"""

RETURN = r"""
settled:
  description: Whether nothing is left to do.
  returned: always
  type: bool
  sample: true
differing:
  description: Paths of O(files) and O(list) that are missing or differ in content or mode.
  returned: always
  type: list
  elements: str
  sample: []
problems:
  description: What is not as wanted.
  returned: always
  type: list
  elements: str
  sample: ["0000:03:00.0: power cap is 225 W, not 190"]
list:
  description: What O(list) shall hold.
  returned: always
  type: str
  sample: "0000:03:00.0\t190000000\tauto\n"
unit:
  description: C(load), C(active), C(enabled) and C(stale) of O(unit).
  returned: always
  type: dict
  sample: {load: loaded, active: inactive, enabled: enabled, stale: false}
cards:
  description: Each gfx906 card with C(pci), C(level), and C(cap), C(lowest), C(highest), C(default) in microwatts.
  returned: always
  type: list
  elements: dict
  sample: [{pci: "0000:03:00.0", cap: 225000000, lowest: 0, highest: 225000000, default: 225000000, level: auto}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.power import question


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
