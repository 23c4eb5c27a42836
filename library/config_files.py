#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module config_files; the logic is in module_utils/mi50/config_files.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Keep a set of small configuration files
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Writes several small files owned by root in one module call, instead of one round trip or two for each.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Missing directories are made with mode 0755.
        type: path
        required: true
      content:
        description: The whole text. Needed unless O(state=absent).
        type: str
      mode:
        description: Octal mode.
        type: str
        default: "0644"
  state:
    description: Whether the files exist.
    type: str
    choices: [absent, present]
    default: present
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
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Pin AMD's packages and tell the linker where they are
  config_files:
    files:
      - path: /etc/apt/preferences.d/mi50-rocm
        content: "{{ lookup('ansible.builtin.template', 'preferences.j2') }}"
      - path: /etc/ld.so.conf.d/mi50-rocm.conf
        content: "/opt/rocm/lib\n"
"""

RETURN = r"""
changed_paths:
  description: Files that were (in check mode, would be) written or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/ld.so.conf.d/mi50-rocm.conf]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import config_files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str"},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    present = module.params["state"] == "present"
    files = []
    for item in module.params["files"]:
        if present and item["content"] is None:
            module.fail_json(msg=f"{item['path']}: give content, or state: absent")
        files.append(config_files.File(Path(item["path"]), item["content"] if present else None, int(item["mode"], 8)))
    try:
        changes = config_files.plan(files)
        if not module.check_mode:
            config_files.apply(changes)
    except OSError as error:
        module.fail_json(msg=f"cannot manage {error.filename}: {error.strerror}")
    module.exit_json(
        changed=bool(changes),
        changed_paths=[str(change.file.path) for change in changes],
        diff=[change.diff() for change in changes],
    )


if __name__ == "__main__":
    main()
