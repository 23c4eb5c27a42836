#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: does a finished node work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_verify
short_description: Look whether a finished node works
version_added: "0.1.0"
description:
  - Judges what a node must show once every role has run, beyond what M(preflight_host) asks of a bare one - kernel log,
    compute device, ROCm's own list of cards, variables that do harm, temperatures, memory errors, open ports - and asks
    the roles' questions again with every byte proven.
  - Changes nothing. Never fails for what it finds; M(preflight_report) judges.
options:
  version:
    description: Version of ROCm that the node is to have.
    type: str
    required: true
  questions:
    description: Options by name of the module, as C(also) of M(preflight_host) takes them. Empty ones are not asked.
    type: dict
    default: {}
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
  - module: preflight_host
  - module: preflight_report
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: See whether the node works
  node_verify:
    version: 6.4.3
  register: seen

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ seen.checks | selectattr('status', 'eq', 'fail') }}"
"""

RETURN = r"""
checks:
  description: Every check, in the order of the report.
  returned: always
  type: list
  elements: dict
  sample:
    - id: rocm.agents
      title: rocminfo
      status: ok
      found: gfx906 2 times
      expected: gfx906 2 times
      remedy: ""
claim:
  description: Of the run that works on the node, as it wrote it there. Null when there is none.
  returned: always
  type: dict
  sample: null
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.mi50.preflight.asked import QuestionError, questions, runner
from ansible.module_utils.mi50.preflight.claim import read
from ansible.module_utils.mi50.verify.ask import ask
from ansible.module_utils.mi50.verify.collect import Roots, collect
from ansible.module_utils.mi50.verify.judge import judge


def validated(spec: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Check options as Ansible checks a module's."""
    checked = ArgumentSpecValidator(spec).validate(options)
    return checked.validated_parameters, checked.error_messages


def main() -> None:
    """Read the parameters, collect, judge, return."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "questions": {"type": "dict", "default": {}},
            "root": {"type": "path", "default": "/"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
            "dev_root": {"type": "path", "default": "/dev"},
        },
        supports_check_mode=True,
    )

    given = module.params
    run = runner(module)
    try:
        asked = {name: options for name, options in questions(given["questions"], validated).items() if options}
    except QuestionError as error:
        module.fail_json(msg=f"questions: {error}")
    roots = Roots(Path(given["root"]), Path(given["sysfs_root"]), Path(given["proc_root"]), Path(given["dev_root"]))
    seen = collect(roots, given["version"], ask(asked, run), run)
    module.exit_json(changed=False, checks=[check.as_dict() for check in judge(seen)], claim=read(roots.root))


if __name__ == "__main__":
    main()
