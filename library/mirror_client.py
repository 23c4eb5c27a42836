#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: take the distribution's packages from a mirror, or from the node's own sources again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mirror_client
short_description: Take the distribution's packages from a mirror, or from the node's own sources again
version_added: "0.1.0"
author:
  - mi50-aipc authors (@mi50-aipc)
description:
  - Writes one apt source for each repository that the mirror has for this platform, under the distribution's own
    keyring, and puts aside sources that lead to other hosts. An empty O(base) undoes both.
options:
  base:
    description: Address of the mirror, C(http://HOST:PORT). Empty gives the node's own sources back.
    type: str
    required: true
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the source, and the files that are put aside or brought back.
    support: full
  platform:
    description: Systems it runs on.
    platforms: linux
    support: full
"""

EXAMPLES = r"""
- name: Take packages from the mirror
  mirror_client:
    base: http://mirror.example:8090
"""

RETURN = r"""
aside:
  description: Files that were put aside.
  returned: success
  type: list
  elements: str
  sample: [/etc/apt/sources.list]
back:
  description: Files that were brought back.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.mirror import client
from ansible.module_utils.mi50.mirror.errors import MirrorError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"base": {"type": "str", "required": True}}, supports_check_mode=True)
    root = Path("/")
    try:
        todo = client.plan(module.params["base"], root)
        if todo.changed and not module.check_mode:
            client.apply(todo, root)
    except MirrorError as error:
        module.fail_json(msg=str(error))
    moved = [f"{path} -> {path.name}{client.ASIDE}\n" for path in todo.aside] + [
        f"{path} comes back\n" for path in todo.back
    ]
    diff = {"before": todo.before or "", "after": (todo.text or "") + "".join(moved)}
    module.exit_json(
        changed=todo.changed,
        aside=[str(path) for path in todo.aside],
        back=[str(path) for path in todo.back],
        diff=diff,
    )


if __name__ == "__main__":
    main()
