#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module monitor_info; the logic is in module_utils/mi50/monitor/question.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_info
short_description: Whether a node measures what the role monitoring asks for
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - One call tells everything that the role C(monitoring) decides on for a node. Changes nothing.
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
    description: Folder of the collector's package.
    type: path
    required: true
  units:
    description: Units that shall be enabled and run.
    type: list
    elements: str
    default: []
  metrics_dir:
    description: Folder of node-exporter's text files, which the group of O(user) shall be able to write.
    type: path
    default: /var/lib/prometheus/node-exporter
  user:
    description: The user that collector and exporter run as.
    type: str
    default: prometheus
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
- name: See what the node has and lacks
  monitor_info:
    package: /usr/local/lib/mi50-monitor
    units: [mi50-monitor.timer]
  register: __monitor
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
  sample: []
problems:
  description: What is not as wanted.
  returned: always
  type: list
  elements: str
  sample: [mi50-monitor.timer is inactive]
left_over:
  description: Python files in O(package) that are not wanted any more.
  returned: always
  type: list
  elements: str
  sample: []
folder:
  description: Whether O(metrics_dir) is there.
  returned: always
  type: bool
  sample: true
exporter_before:
  description: Whether node-exporter is there without having come with the role.
  returned: always
  type: bool
  sample: false
fand_active:
  description: Whether the fan daemon runs.
  returned: always
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.monitor import question


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
