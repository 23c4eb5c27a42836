#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the host layer of the preflight."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_host
short_description: Compare a host with what a stack asks of it
version_added: "0.1.0"
description:
  - Looks at the operating system, kernel, package database, disks, clock, cards, upstream hosts and the apt repository
    in one call, and compares them with the stack.
  - The repository's key, signature and package lists are fetched into a private temporary directory and verified there;
    a host whose apt has verified them already is not asked.
  - Changes nothing and does not fail for what it finds; M(preflight_report) turns the checks into a verdict.
options:
  stack:
    description: The stack, as the lookup P(mi50_stack#lookup) returns it.
    type: dict
    required: true
  kernel_driver:
    description: Driver mode of the ROCm role.
    type: str
    choices: [auto, inbox, dkms]
    default: auto
  expected_gpus:
    description: Number of gfx906 cards the host should have. Not compared when omitted.
    type: int
  min_free_gib:
    description: GiB that must be free, by path. Empty means the stack's own figures.
    type: dict
    default: {}
  bases:
    description: Base URL variables whose hosts must answer. Empty asks none.
    type: list
    elements: str
    default: []
  key_fingerprint:
    description: Fingerprint the key of the apt repository must have. Empty means the stack's own.
    type: str
    default: ""
  key_content:
    description: The armored key of the apt repository. Empty means that it is fetched from the stack's address.
    type: str
    default: ""
  http_proxy:
    description: Proxy for http. Empty means none.
    type: str
    default: ""
  https_proxy:
    description: Proxy for https. Empty means none.
    type: str
    default: ""
  no_proxy:
    description: Host names that are reached without a proxy, separated by commas.
    type: str
    default: ""
  timeout:
    description: Seconds for each network request.
    type: float
    default: 10
  also:
    description:
      - Questions of roles, asked in the same call when no check failed. Options by name of the module that is asked,
        such as M(rocm_info) or M(gfx906_rocblas); empty for a role that has other work, null for one that has none.
    type: dict
    default: {}
  run:
    description:
      - The run that wants to work on this host (C(id), C(name), C(controller), C(user), C(since), C(take)).
      - When something is left to do, the host is marked as that run's; not in check mode.
      - Empty means that nobody is going to work on it. With C(take) a claim of another run is replaced.
    type: dict
    default: {}
  mirror:
    description: An artifact mirror (C(base), C(needs), C(pythons)), asked when there is something to do.
    type: dict
    default: {}
  controller_time:
    description: Seconds since the epoch on the controller, to compare clocks with.
    type: float
  root:
    description: Directory that stands for C(/), for everything but the three below.
    type: path
    default: /
  sysfs_root:
    description: Directory where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Directory where procfs is mounted.
    type: path
    default: /proc
  dev_root:
    description: Directory of the device nodes.
    type: path
    default: /dev
attributes:
  check_mode:
    description: Runs the same in check mode, but for O(run).
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on.
    platforms: debian
    support: full
seealso:
  - module: amdgpu_info
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Look at the host
  preflight_host:
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
    bases: [mi50_url_radeon]
  register: host

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ host.checks | selectattr('status', 'eq', 'fail') }}"
"""

RETURN = r"""
checks:
  description: One entry a check, in the order of the report.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Stable name, explained in docs/troubleshooting.md.
      type: str
      sample: os.release
    title:
      description: Name for people.
      type: str
      sample: Operating system
    status:
      description: V(ok), V(warn), V(fail) or V(skip).
      type: str
      sample: ok
    found:
      description: What is there.
      type: str
      sample: Debian GNU/Linux 12 (bookworm)
    expected:
      description: What should be.
      type: str
      sample: one of ubuntu 24.04, ubuntu 22.04, debian 12
    remedy:
      description: What to do when it is not.
      type: str
      sample: ""
settled:
  description: Whether there were questions in O(also), and no role that asked has anything left to do.
  returned: always
  type: bool
  sample: true
run:
  description: >-
    C(held_by), the claim of another run that stands in the way; C(claimed), whether the host was marked as this run's;
    C(host_key), a digest of the SSH host key.
  returned: always
  type: dict
  sample: {held_by: null, claimed: false, host_key: ""}
answers:
  description:
    - What the roles export, by the name of the module of O(also), as long as there is nothing left to do.
    - Where something is, that answer is missing, and so is every one after it, since the role may undo what they saw.
  returned: always
  type: dict
  contains:
    rocm_info:
      description: Some of what M(rocm_info) returns.
      type: dict
      sample: {settled: true, rocm: {version: 6.4.3-128}, driver: {mode: inbox, warnings: []}, reboot_required: false}
    gfx906_rocblas:
      description: C(files), the number of kernel files by destination.
      type: dict
      sample: {files: {/opt/rocm-6.4.3: 156}}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.mi50.preflight import also, claim
from ansible.module_utils.mi50.preflight.asked import QuestionError, questions, runner
from ansible.module_utils.mi50.preflight.collect import Options, collect
from ansible.module_utils.mi50.preflight.evaluate import evaluate
from ansible.module_utils.mi50.preflight.model import BAD, Policy, RepositoryTarget, Target
from ansible.module_utils.mi50.preflight.targets import repository_for, targets_for


def validated(spec: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Check options as Ansible checks a module's."""
    checked = ArgumentSpecValidator(spec).validate(options)
    return checked.validated_parameters, checked.error_messages


def main() -> None:
    """Read the parameters, collect, evaluate, return."""
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "dict", "required": True},
            "kernel_driver": {"type": "str", "choices": ["auto", "inbox", "dkms"], "default": "auto"},
            "expected_gpus": {"type": "int"},
            "min_free_gib": {"type": "dict", "default": {}},
            "bases": {"type": "list", "elements": "str", "default": []},
            "key_fingerprint": {"type": "str", "default": "", "no_log": False},
            "key_content": {"type": "str", "default": "", "no_log": False},
            "http_proxy": {"type": "str", "default": ""},
            "https_proxy": {"type": "str", "default": ""},
            "no_proxy": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 10},
            "also": {"type": "dict", "default": {}},
            "run": {"type": "dict", "default": {}},
            "mirror": {"type": "dict", "default": {}},
            "controller_time": {"type": "float"},
            "root": {"type": "path", "default": "/"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
            "dev_root": {"type": "path", "default": "/dev"},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    run = runner(module)
    try:
        asked = questions(given["also"], validated)
    except QuestionError as error:
        module.fail_json(msg=f"also: {error}")
    stack: dict[str, Any] = given["stack"]
    min_free = {path: float(value) for path, value in (given["min_free_gib"] or stack["disk_gib"]).items()}

    def targets(os_id: str, os_version: str) -> list[Target]:
        return targets_for(stack, given["bases"], os_id, os_version)

    def repository(os_id: str, os_version: str) -> RepositoryTarget | None:
        return repository_for(stack, os_id, os_version, given["key_fingerprint"], given["key_content"])

    options = Options(
        root=Path(given["root"]),
        sysfs_root=Path(given["sysfs_root"]),
        proc_root=Path(given["proc_root"]),
        dev_root=Path(given["dev_root"]),
        disk_paths=tuple(min_free),
        rocm_version=stack["rocm"]["version"],
        controller_time=given["controller_time"],
        proxies={"http": given["http_proxy"], "https": given["https_proxy"]},
        no_proxy=given["no_proxy"],
        timeout=given["timeout"],
    )
    policy = Policy(
        stack=stack["name"],
        platforms=tuple(stack["rocm"]["platforms"]),
        refused=tuple(stack["rocm"]["refused"]),
        kernel_driver=given["kernel_driver"],
        min_free_gib=min_free,
        expected_gpus=given["expected_gpus"],
        check_mode=module.check_mode,
        mends=bool(given["run"]),
    )
    host = collect(options, targets, run, repository)
    checks = evaluate(host, policy)
    failed = any(check.status in BAD for check in checks)
    # Packages that are not whole are work, whatever the roles would say.
    answers = {} if failed or host.dpkg_cut else also.ask(asked, run)
    for warning in answers.get("rocm_info", {"driver": {"warnings": []}})["driver"]["warnings"]:
        module.warn(warning)
    settled = bool(asked) and all(name in answers or question is None for name, question in asked.items())
    if given["mirror"] and not settled and not failed:
        # Loaded here: a node that is finished fetches nothing.
        from ansible.module_utils.mi50.preflight.check_mirror import mirrored

        checks.append(mirrored(given["mirror"], answers, options, run))
        failed = checks[-1].status in BAD
    work = bool(given["run"]) and not settled and not failed and not module.check_mode
    held_by = claim.claim(options.root, given["run"], take=bool(given["run"].get("take"))) if work else None
    module.exit_json(
        changed=False,
        run={"held_by": held_by, "claimed": work and not held_by, "host_key": claim.host_key(options.root)},
        checks=[check.as_dict() for check in checks],
        answers=answers,
        settled=settled,
    )


if __name__ == "__main__":
    main()
