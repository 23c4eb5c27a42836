#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module torch_env; the logic is in module_utils/mi50/torchenv."""

from __future__ import annotations

DOCUMENTATION = r"""
module: torch_env
short_description: Virtual environments with ROCm's torch that stay as they are
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Keeps one environment with torch, torchvision and torchaudio of a stack, triton-gfx906 in place of the stock triton,
    and any number of light environments on top that share its files.
  - A change is built beside the environment in use, proven, and put into use in one step. Whatever fails, the one
    before stays as it was.
  - Notices what others changed (a torch that was installed again, a foreign triton, lost kernels, a torch that an
    environment on top got of its own).
  - Works in steps, since the kernels are put in by M(gfx906_rocblas) in between.
options:
  state:
    description: V(absent) removes everything this module made, with what users installed into those environments.
    type: str
    choices: [present, absent]
    default: present
  step:
    description:
      - V(look) only tells what there is and what is left to do.
      - V(build) has a generation that is as asked for, beside the one in use, and returns RV(generation).
      - V(finish) has RV(generation) compute, puts it into use, and keeps the environments on top.
      - V(verify) reads every file of torch and triton, computes again, and changes nothing.
    type: str
    choices: [look, build, finish, verify]
    default: look
  root:
    description: Folder of the environments. C(torch) in it is the shared one.
    type: path
    default: /opt/mi50-aipc/venvs
  python:
    description: Interpreter. Must be the distribution's own; conda's and others are refused.
    type: path
    default: /usr/bin/python3
  torch:
    description: C(torch), C(torchvision) and C(torchaudio) with their versions, the local part (V(+rocm6.4)) included.
    type: dict
    default: {}
  index:
    description: Address of PyTorch's wheel index.
    type: str
    default: ""
  pypi:
    description: Address of the package index for what torch needs besides. Empty leaves it to pip's own settings.
    type: str
    default: ""
  wheels:
    description: SHA-256 by file name, from the stack or its lock. A wheel that differs is refused before installation.
    type: dict
    default: {}
  triton_wheel:
    description:
      - Wheel of triton-gfx906 on the node, called C(triton) or C(pytorch-triton-rocm).
      - Without one, stock triton is left out, and a triton-gfx906 that is there stays.
    type: path
  triton_sha256:
    description: SHA-256 of O(triton_wheel). Without it, the name tells builds apart.
    type: str
    default: ""
  triton_version:
    description: The stack's version of triton. Another one than this torch needs is refused.
    type: str
    default: ""
  kernels:
    description:
      - Options of M(gfx906_rocblas) that say which kernels are wanted in the environment; empty for any that are whole.
      - Omitted when this torch's rocBLAS needs none.
    type: dict
  environments:
    description: Environments on top of the shared one.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the folder in O(root).
        type: str
        required: true
      state:
        description: Whether it exists.
        type: str
        choices: [present, absent]
        default: present
  files:
    description: Files of the compute proof.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      mode:
        description: Octal mode.
        type: str
        default: "0644"
      sha256:
        description: Digest of its content.
        type: str
        required: true
      content:
        description: Its content. Needed for O(step=finish).
        type: str
  proof:
    description: How torch is proven to compute after each change.
    type: dict
    suboptions:
      enabled:
        description: Whether it is.
        type: bool
        default: true
      device:
        description: V(auto) is every GPU. V(cpu) proves torch alone.
        type: str
        default: auto
      only:
        description: Operations. All of them when empty.
        type: list
        elements: str
        default: []
      train:
        description: Train a small network as well.
        type: bool
        default: false
      timeout:
        description: Seconds for each operation.
        type: int
        default: 300
      library:
        description: Folder of the package C(mi50_compute).
        type: path
        default: /usr/local/lib/mi50-aipc/compute
  generation:
    description: For V(finish), what V(build) returned. The one in use when omitted.
    type: path
  cache_dir:
    description: Where wheels are fetched to.
    type: path
    default: /var/cache/mi50-aipc
  progress:
    description: File that V(build) keeps its progress in while it runs.
    type: path
    default: /run/mi50-aipc/torch.json
  keep_previous:
    description: Keep the generation before, so that going back to its stack costs nothing. It takes its space.
    type: bool
    default: true
  keep_wheels:
    description: Leave fetched wheels in O(cache_dir).
    type: bool
    default: false
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  dev_root:
    description: Where the device files are.
    type: path
    default: /dev
notes:
  - Takes its proxies from the environment (C(http_proxy), C(https_proxy), C(no_proxy)); set C(environment) of the task.
seealso:
  - module: gfx906_rocblas
attributes:
  check_mode:
    description: Every step then tells what would be done, and does nothing.
    support: full
  diff_mode:
    description: Lists what is done and why.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: debian
  action:
    description: Has an action plugin, which shows the progress of V(build).
    support: full
"""

EXAMPLES = r"""
- name: Build torch's environment beside the one in use
  torch_env:
    step: build
    torch: {torch: 2.9.0+rocm6.4, torchvision: 0.24.0+rocm6.4, torchaudio: 2.9.0+rocm6.4}
    index: https://download.pytorch.org/whl/rocm6.4
    environments: [{name: comfyui}]
  register: __built
"""

RETURN = r"""
settled:
  description: Whether nothing is left to do.
  returned: with O(step=look)
  type: bool
  sample: true
plan:
  description: What is left to do, in words.
  returned: with O(step=look)
  type: list
  elements: str
  sample: ["/opt/mi50-aipc/venvs/torch: torch is installed beside and put into use: there is none yet"]
missing_packages:
  description: Packages of the distribution that have to be installed first.
  returned: with O(step=look)
  type: list
  elements: str
  sample: [python3-venv]
generation:
  description: The virtual environment that is, or is to be, the shared one.
  returned: success
  type: str
  sample: /opt/mi50-aipc/venvs/.torch/2.9.0-rocm6.4.1
unlocked:
  description: Wheels that neither the stack, its lock nor the index had a digest for.
  returned: with O(step=build)
  type: list
  elements: str
  sample: []
torch:
  description: Version of torch in use, null when there is none.
  returned: with O(step=look) and O(step=finish)
  type: str
  sample: 2.9.0+rocm6.4
triton:
  description: Version of triton-gfx906 in use, null when triton is missing.
  returned: with O(step=look) and O(step=finish)
  type: str
  sample: 3.5.0+gfx906
environments:
  description: Names of the environments on top.
  returned: with O(step=look) and O(step=finish)
  type: list
  elements: str
  sample: [comfyui]
proof:
  description: The proof of the present state in one line, or why there is none.
  returned: with O(step=look) and O(step=finish)
  type: str
  sample: "17 operations on 1 device(s): all right"
proof_outcome:
  description: What C(mi50_compute --json) printed.
  returned: with O(step=finish) and O(step=verify)
  type: dict
  sample: {ok: true, failures: [], devices: []}
passing:
  description: Whether a later try may succeed, such as when a server does not answer.
  returned: failure
  type: bool
  sample: true
done:
  description: What was done.
  returned: with O(step=finish)
  type: list
  elements: str
  sample: ["/opt/mi50-aipc/venvs/torch is 2.9.0-rocm6.4.1 now"]
removed:
  description: What was removed.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: [/opt/mi50-aipc/venvs/torch]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.torchenv import question
from ansible.module_utils.mi50.torchenv.model import Away, TorchEnvError
from ansible.module_utils.mi50.torchenv.run import run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=question.SPEC, supports_check_mode=True)
    try:
        result = run(module.params, check_mode=module.check_mode)
    except TorchEnvError as error:
        module.fail_json(msg=str(error), passing=isinstance(error, Away))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}. The environment in use was not touched.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
