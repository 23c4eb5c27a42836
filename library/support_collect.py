#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module support_collect; the logic is in module_utils/mi50/bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_collect
short_description: What a maintainer needs of a node, without secrets and names
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Reads system, driver, packages, settings, units, logs and cards of the node, and takes secrets, names of hosts and
    people, addresses and serial numbers out before anything leaves it.
  - Changes nothing. M(support_bundle) makes an archive of it.
options:
  public:
    description: Hosts of addresses that everybody may know.
    type: list
    elements: str
    default: []
  token_files:
    description: Files of the node whose content is secret, besides those of this project.
    type: list
    elements: path
    default: []
  root:
    description: Stands for / in everything that is not sysfs, proc or dev.
    type: path
    default: /
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
  dev_root:
    description: Where the device nodes are.
    type: path
    default: /dev
attributes:
  check_mode:
    description: Runs the same in check mode.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on.
    platforms: debian
    support: full
seealso:
  - module: support_bundle
"""

EXAMPLES = r"""
- name: See what a maintainer would get
  support_collect:
    public: [github.com]
  register: seen
"""

RETURN = r"""
files:
  description: Text by name in the bundle.
  returned: always
  type: dict
  sample: {system/uname: "Linux 6.8.0-49-generic #49-Ubuntu SMP x86_64"}
absent:
  description: Why there is nothing under a name.
  returned: always
  type: dict
  sample: {system/dkms: dkms is not there}
counts:
  description: How often each kind was taken out.
  returned: always
  type: dict
  sample: {secret: 2, host: 14}
"""

import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process
from ansible.module_utils.mi50.bundle.collect import Roots, collect
from ansible.module_utils.mi50.bundle.machine import known


def run(module: AnsibleModule, command: list[str], seconds: int) -> tuple[int, str]:
    """Run a command to its end or its time limit; a hung card can hang its tools."""
    program = command[0] if command[0].startswith("/") else module.get_bin_path(command[0])
    if program is None or not Path(program).exists():
        return 127, ""
    environment = {
        "LANGUAGE": "C",
        "LC_ALL": "C",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    try:
        done = process.run([program, *command[1:]], timeout=seconds, environment=environment)
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode("utf-8", "replace") + f"\n[no end within {seconds} s]\n"
    except OSError as error:
        return 126, f"[{error.strerror}]\n"
    return done.code, (done.output + done.errors).decode("utf-8", "replace")


def main() -> None:
    """Read the parameters, collect, return."""
    module = AnsibleModule(
        argument_spec={
            "public": {"type": "list", "elements": "str", "default": []},
            "token_files": {"type": "list", "elements": "path", "default": [], "no_log": False},
            "root": {"type": "path", "default": "/"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
            "dev_root": {"type": "path", "default": "/dev"},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    roots = Roots(*(Path(given[name]) for name in ("root", "sysfs_root", "proc_root", "dev_root")))
    machine = known(roots.root, roots.sysfs, given["public"], given["token_files"])
    bundle = collect(roots, machine, lambda command, seconds: run(module, command, seconds))
    module.exit_json(changed=False, files=bundle.files, absent=bundle.absent, counts=bundle.counts)


if __name__ == "__main__":
    main()
