#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: fill, check, export and import the folder that a mirror serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_mirror
short_description: Fill, check, export and import the folder that a mirror serves
version_added: "0.1.0"
author:
  - mi50-aipc authors (@mi50-aipc)
description:
  - A mirror is one folder with everything that nodes of a stack fetch, below the upstream hosts' own paths, and a
    manifest with the sha256 of every file.
  - Everything is proven when it comes, by the stack, its lock, the publishers' signatures and digests. What is there
    is not fetched again, interrupted transfers go on where they broke off.
  - apt repositories are served with their publishers' own indexes and signatures; of their packages those are there
    that the roles install, with what these need.
options:
  state:
    description:
      - V(looked) says what the mirror would hold and what it lacks.
      - V(filled) fetches O(names).
      - V(checked) fails with everything that is missing or differs from the stack and its lock.
      - V(exported) copies the mirror to O(place), V(imported) takes it over from there.
    type: str
    choices: [looked, filled, checked, exported, imported]
    default: looked
  dir:
    description: The mirror's folder.
    type: path
    required: true
  stack:
    description: The stack, as the lookup P(mi50_stack#lookup) returns it, with the upstream addresses.
    type: dict
    required: true
  names:
    description: Items to fetch, of RV(holds).
    type: list
    elements: str
    default: []
  platforms:
    description: Platforms of the stack, as C(ID-VERSION). Empty means all.
    type: list
    elements: str
    default: []
  only:
    description: The items that this mirror holds. Empty means all.
    type: list
    elements: str
    default: []
  without:
    description: Items that this mirror does not hold.
    type: list
    elements: str
    default: []
  overrides:
    description: Other values of artifacts, such as C(commit), by name.
    type: dict
    default: {}
  models:
    description: Models, as the lookup P(mi50_models#lookup) returns them.
    type: list
    elements: dict
    default: []
  distributions:
    description:
      - Repositories of distributions, each with C(platform), C(name), C(url), C(suite), C(components), C(keyring).
    type: list
    elements: dict
    default: []
  own_distribution:
    description: Whether the repositories of this host's own distribution are mirrored for nodes that run the same.
    type: bool
    default: true
  packages:
    description: Distribution packages besides those that the roles install.
    type: list
    elements: str
    default: []
  package_set:
    description: Which of the stack's sets of ROCm packages.
    type: str
    default: full
  fingerprint:
    description: Fingerprint of the key of AMD's repositories, if another than the stack's.
    type: str
    default: ""
  keyring:
    description: Keyring for detached signatures. Empty means the one that the stack names.
    type: path
    default: ""
  insecure_registries:
    description: Upstream registries that speak plain http, as C(HOST[:PORT]).
    type: list
    elements: str
    default: []
  served_as:
    description:
      - Addresses of this mirror, of its web server and of its registry.
      - An upstream address that begins with one is refused.
    type: list
    elements: str
    default: []
  place:
    description: Folder to export to or import from.
    type: path
  seal:
    description: The sha256 that the manifest of an import must have. Empty means any.
    type: str
    default: ""
  every_byte:
    description: Whether V(checked) reads every byte, or looks at sizes alone.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be done, and fetches and copies nothing.
    support: full
  diff_mode:
    description: Lists the items that are fetched.
    support: full
  platform:
    description: Systems it runs on.
    platforms: linux
    support: full
notes:
  - Takes its proxies from the environment (C(http_proxy), C(https_proxy), C(no_proxy)); set C(environment) of the task.
requirements:
  - git, gpgv, and pip of the system's Python to fill
"""

EXAMPLES = r"""
- name: See what the mirror lacks
  artifact_mirror:
    dir: /srv/mi50-mirror
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
  register: mirror

- name: Fetch it
  artifact_mirror:
    dir: /srv/mi50-mirror
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
    state: filled
    names: "{{ mirror.lacking }}"
"""

RETURN = r"""
holds:
  description: Everything that this mirror holds, or shall hold.
  returned: success
  type: list
  elements: str
  sample: [rocm-key, apt-debian-12, rocblas-arch]
lacking:
  description: Those of them that are not whole.
  returned: success
  type: list
  elements: str
  sample: [rocblas-arch]
filled:
  description: Those that were fetched or changed.
  returned: success
  type: list
  elements: str
  sample: []
learned:
  description: What the lock file records, by artifact.
  returned: success
  type: dict
  sample: {"rocblas-arch": {"sha256": "ab12", "size": 263000000}}
bytes_received:
  description: Bytes that crossed the network.
  returned: success
  type: int
  sample: 0
size:
  description: Bytes that the mirror holds.
  returned: success
  type: int
  sample: 61000000000
distributions:
  description: The repositories of distributions that are mirrored.
  returned: success
  type: list
  elements: dict
  sample: []
nodes:
  description: Variables that nodes set to use it, as YAML. Empty unless O(served_as) has the two addresses.
  returned: success
  type: str
  sample: "mi50_url_radeon: http://192.0.2.5:8090/radeon"
contents:
  description: What it holds, as JSON for its nodes.
  returned: success
  type: str
  sample: '{"format": 1, "items": {}}'
seal:
  description: The sha256 of the manifest, after V(exported) and V(imported).
  returned: success
  type: str
  sample: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.mirror.act import act
from ansible.module_utils.mi50.mirror.errors import MirrorError

SPEC = {
    "state": {
        "type": "str",
        "choices": ["looked", "filled", "checked", "exported", "imported"],
        "default": "looked",
    },
    "dir": {"type": "path", "required": True},
    "stack": {"type": "dict", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "platforms": {"type": "list", "elements": "str", "default": []},
    "only": {"type": "list", "elements": "str", "default": []},
    "without": {"type": "list", "elements": "str", "default": []},
    "overrides": {"type": "dict", "default": {}},
    "models": {"type": "list", "elements": "dict", "default": []},
    "distributions": {"type": "list", "elements": "dict", "default": []},
    "own_distribution": {"type": "bool", "default": True},
    "packages": {"type": "list", "elements": "str", "default": []},
    "package_set": {"type": "str", "default": "full"},
    "fingerprint": {"type": "str", "default": ""},
    "keyring": {"type": "path", "default": "", "no_log": False},
    "insecure_registries": {"type": "list", "elements": "str", "default": []},
    "served_as": {"type": "list", "elements": "str", "default": []},
    "place": {"type": "path"},
    "seal": {"type": "str", "default": ""},
    "every_byte": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)

    def run(argv: list[str]) -> tuple[int, str]:
        code, output, dummy = module.run_command(argv)
        return code, output

    try:
        result = act(module.params, run, check_mode=module.check_mode)
    except MirrorError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
