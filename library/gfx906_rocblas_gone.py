#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module gfx906_rocblas_gone; the logic is in module_utils/mi50/rocblas/orphans.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gfx906_rocblas_gone
short_description: Take gfx906 kernels out of releases of ROCm that were removed
version_added: "0.1.0"
description:
  - When the packages of a release go, as in a change of the stack, dpkg leaves the folder with the kernels that
    M(gfx906_rocblas) put there. This module takes them out, and the empty folders with them.
  - A release whose packages are installed is left alone, and so is a folder that holds anything else.
options:
  prefixes:
    description: Patterns of ROCm prefixes.
    type: list
    elements: str
    default: [/opt/rocm-*]
attributes:
  check_mode:
    description: Says what would be taken out.
    support: full
  diff_mode:
    description: Lists the files that go, with sizes.
    support: full
  platform:
    description: Linux.
    platforms: posix
    support: full
seealso:
  - module: gfx906_rocblas
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Take kernels out of releases that are gone
  gfx906_rocblas_gone:
"""

RETURN = r"""
gone:
  description: Prefixes that held kernels and no release.
  returned: always
  type: list
  elements: str
  sample: [/opt/rocm-6.4.3]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.rocblas import orphans
from ansible.module_utils.mi50.rocblas.request import Request
from ansible.module_utils.mi50.rocblas.run import run_all


def main() -> None:
    """Find them, take the kernels out, remove what is empty."""
    module = AnsibleModule(
        argument_spec={"prefixes": {"type": "list", "elements": "str", "default": ["/opt/rocm-*"]}},
        supports_check_mode=True,
    )
    gone = orphans.find(module.params["prefixes"])
    result, failure = run_all(Request("", check_mode=module.check_mode, state="absent"), gone)
    if failure:
        module.fail_json(msg=failure.message, gone=gone)
    if not module.check_mode:
        for prefix in gone:
            orphans.tidy(Path(prefix))
    module.exit_json(changed=result["changed"], gone=gone, diff=result["diff"])


if __name__ == "__main__":
    main()
