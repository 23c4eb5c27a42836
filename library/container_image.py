#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module container_image; the logic is in module_utils/mi50/containers/image.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Have an image on the node that is what its digest says
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Pulls an image by its digest, from a registry or a mirror of it, or loads it from an archive file.
  - An archive is compared with its own sha256, or with the image's digest where it says what it holds. What does not
    agree is not loaded.
  - Tries again when a registry goes away; layers that are finished are kept.
options:
  repository:
    description: The image's repository with the registry's host, without a tag.
    type: str
    default: ""
  digest:
    description: Manifest digest, C(sha256:) and 64 hexadecimal digits.
    type: str
    default: ""
  archive:
    description: Archive file on the node, taken instead of a registry.
    type: path
    default: ""
  archive_sha256:
    description: sha256 of O(archive).
    type: str
    default: ""
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
    platforms: linux
"""

EXAMPLES = r"""
- name: Have an image from a mirror
  container_image:
    repository: mirror.example:5000/nalanzeyu/vllm-gfx906
    digest: sha256:0000000000000000000000000000000000000000000000000000000000000000
"""

RETURN = r"""
reference:
  description: Name to start containers from.
  returned: success
  type: str
  sample: docker.io/nalanzeyu/vllm-gfx906@sha256:0000000000000000000000000000000000000000000000000000000000000000
id:
  description: The engine's own id of the image; empty in check mode for one that is not there.
  returned: success
  type: str
  sample: sha256:1111111111111111111111111111111111111111111111111111111111111111
size:
  description: Bytes it takes unpacked.
  returned: success
  type: int
  sample: 30000000000
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.containers import image
from ansible.module_utils.mi50.containers.errors import ContainerError


def main() -> None:
    """Run the module."""
    names = ("repository", "digest", "archive", "archive_sha256")
    spec = {name: {"type": "path" if name == "archive" else "str", "default": ""} for name in names}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    wanted = image.Wanted(**{name: module.params[name] for name in names})
    try:
        image.check(wanted)
        there = image.present(wanted, image.run_streamed)
        found = there
        if not there and not module.check_mode:
            found = image.ensure(wanted, image.run_streamed, lambda text: None)
    except (ContainerError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=not there, reference=wanted.reference, **(found or {"id": "", "size": 0}))


if __name__ == "__main__":
    main()
