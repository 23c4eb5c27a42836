#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module rocm_info; the logic is in module_utils/mi50/rocm/info.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rocm_info
short_description: What a node has and lacks for a ROCm release
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - One call tells everything that the role C(rocm) decides on, without gathering facts.
  - The operating system, the kernel and the driver that fits, installed and missing packages, groups,
    and whether a reboot is due.
  - Fails when the operating system is not in O(platforms) or O(driver=dkms) cannot work on this kernel.
options:
  version:
    description: The ROCm release.
    type: str
    required: true
  build:
    description: Digits that each apt version of that release carries.
    type: str
    required: true
  platforms:
    description: Supported operating systems, rows of the stack. None means that any will do, as for removal.
    type: list
    elements: dict
    default: []
  packages:
    description: ROCm packages that shall be installed.
    type: list
    elements: str
    default: []
  driver:
    description: The kernel driver that is asked for.
    type: str
    choices: [auto, inbox, dkms]
    default: auto
  driver_packages:
    description: Packages of the DKMS driver.
    type: list
    elements: str
    default: []
  users:
    description: Users that shall be members of O(groups).
    type: list
    elements: str
    default: []
  groups:
    description: Groups that may open the GPU devices.
    type: list
    elements: str
    default: [render, video]
  uris:
    description: Addresses of the ROCm repositories. When given, the origin of each installed ROCm package is checked.
    type: list
    elements: str
    default: []
  source:
    description:
      - The apt source of O(packages), as M(apt_source) takes it, to tell RV(settled).
    type: dict
    suboptions:
      path:
        description: The source file.
        type: path
        required: true
      uri:
        description: Address of the repository.
        type: str
        required: true
      components:
        description: Components of the repository.
        type: list
        elements: str
        default: [main]
      architectures:
        description: Architectures of the packages.
        type: list
        elements: str
        default: [amd64]
      keyring:
        description: File with the key.
        type: path
        required: true
      fingerprints:
        description: Fingerprints of the keys that are trusted.
        type: list
        elements: str
        required: true
      files:
        description: Further files that belong to it.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: The file.
            type: path
            required: true
          content:
            description: Its whole text.
            type: str
            required: true
      cache_valid_time:
        description: Seconds after which its package lists count as old.
        type: int
        default: 86400
      stamp_dir:
        description: Where the last proof of the lists is recorded.
        type: path
        default: /var/cache/mi50-aipc
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
  dev_root:
    description: Where the device files are.
    type: path
    default: /dev
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
    platforms: debian
"""

EXAMPLES = r"""
- name: See what the node lacks for ROCm 6.4.3
  rocm_info:
    version: 6.4.3
    build: "60403"
    platforms: "{{ lookup('mi50_stack', 'rocm-6.4.3').rocm.platforms }}"
    packages: [rocm]
  register: __rocm_info
"""

RETURN = r"""
os:
  description: C(id), C(version) and C(codename) of the operating system.
  returned: always
  type: dict
  sample: {id: debian, version: "12", codename: bookworm}
platform:
  description: The row of O(platforms) that fits.
  returned: always
  type: dict
  sample: {id: debian, version: "12", suite: jammy}
kernel:
  description: The running kernel, what of it is installed, and whether it is a container's host's.
  returned: always
  type: dict
  sample: {release: 6.8.0-87-generic, container: false, amdgpu: inbox, headers: available}
driver:
  description:
    - C(mode) (C(inbox), C(dkms), or C(host) in a container), C(reason), C(warnings).
    - C(packages) are those that are missing for it.
  returned: always
  type: dict
  sample: {mode: inbox, reason: "kernel 6.14.0-35-generic is not in AMD's matrix", packages: [], warnings: []}
rocm:
  description: Installed C(version), C(prefix), and C(packages) of this build with their versions.
  returned: always
  type: dict
  sample: {version: 6.4.3-128, prefix: /opt/rocm-6.4.3, packages: {rocm: 6.4.3.60403-128~22.04}}
missing:
  description: What is yet to be installed or made, by kind.
  returned: always
  type: dict
  sample: {apt_modules: [python3-apt], packages: [rocm], extra_packages: [], groups: [], users: [], memberships: []}
stale_links:
  description: Prefixes that update-alternatives still offers as C(/opt/rocm) although their release is gone.
  returned: success
  type: list
  elements: str
  sample: [/opt/rocm-6.4.3]
wrong_origin:
  description: Installed ROCm packages that come from no repository of O(uris).
  returned: always
  type: list
  elements: dict
  sample: [{name: rocminfo, version: 5.7.1-3, origins: ["http://archive.example/ubuntu noble/universe"]}]
dpkg_audit:
  description: Packages that are neither wholly installed nor wholly gone.
  returned: always
  type: list
  elements: str
  sample: [amdgpu-dkms half-configured]
gpus:
  description: How many AMD GPUs are on the PCI bus.
  returned: always
  type: int
  sample: 2
reboot_required:
  description: Whether the node must be rebooted before the GPUs are of use.
  returned: always
  type: bool
  sample: false
reboot_reasons:
  description: Why.
  returned: always
  type: list
  elements: str
  sample: []
settled:
  description:
    - Whether nothing is left to do. The source, packages, groups and the driver are as asked for.
    - Never true without O(source), nor for the DKMS driver, which has a source of its own.
  returned: always
  type: bool
  sample: true
problems:
  description: What stands between this node and the release.
  returned: always
  type: list
  elements: str
  sample: [package rocm is not installed; wanted a version of build 60403]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.rocm import question


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=question.SPEC, supports_check_mode=True)

    def run(command: list[str]) -> tuple[int, str]:
        code, output, dummy = module.run_command(command, environ_update={"LC_ALL": "C", "LANGUAGE": "C"})
        return code, output

    try:
        result = question.answer(module.params, run)
    except question.Unanswered as error:
        module.fail_json(msg=str(error))
    for warning in result["driver"]["warnings"]:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
