#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module key_pair; the logic is in module_utils/mi50/seal.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: key_pair
short_description: What other hosts seal keys with that this one shall have
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Makes a pair (RSA, 3072 bits, by openssl) whose private half stays on this host, 0600, and returns the public one
    for M(key_seal).
options:
  path:
    description: File of the pair, PEM. Its folder is made.
    type: path
    required: true
  state:
    description: V(absent) removes the file.
    type: str
    choices: [absent, present]
    default: present
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: There is nothing that may be shown.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
seealso:
  - module: key_seal
"""

EXAMPLES = r"""
- name: Have a pair
  key_pair:
    path: /etc/mi50-aipc/keys/monitoring.pem
  register: __pair
"""

RETURN = r"""
public_key:
  description: The public half, PEM. Empty when there is none, as in check mode before the first run.
  returned: success
  type: str
  sample: ""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process, seal


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    path, wanted = Path(module.params["path"]), module.params["state"] == "present"
    changed = path.exists() != wanted
    public_key = ""
    try:
        if wanted and not (changed and module.check_mode):
            public_key = seal.public(path, process.run)
        elif changed and not module.check_mode:
            path.unlink()
    except (seal.SealError, OSError) as error:
        module.fail_json(msg=f"key_pair: {path}: {error}")
    module.exit_json(changed=changed, public_key=public_key)


if __name__ == "__main__":
    main()
