#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module key_seal; the logic is in module_utils/mi50/seal.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: key_seal
short_description: Hand a key to another host without anybody on the way reading it
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Encrypts files of this host with another host's public key (RSA, OAEP with SHA-256, by openssl), so that the
    controller carries them without being able to read them.
options:
  public_key:
    description:
      - The other host's public key, PEM, as M(key_pair) returns it.
      - Empty where it has none yet. Nothing is sealed then, and RV(there) tells what could be.
    type: str
    required: true
  files:
    description: Files to seal, each with one key on one line, by the name they are returned under.
    type: dict
    required: true
  optional:
    description: Leave out what cannot be read, and a host that cannot be reached, instead of failing.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing, ever.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
seealso:
  - module: key_pair
"""

EXAMPLES = r"""
- name: Seal the key of llama.cpp
  key_seal:
    public_key: "{{ __pair.public_key }}"
    files: {llama_cpp: /etc/mi50-aipc/keys/llama_cpp}
"""

RETURN = r"""
sealed:
  description: Name to what only the other host can read, base64.
  returned: success
  type: dict
  sample: {llama_cpp: aGVsbG8=}
there:
  description: Names of files that hold a key.
  returned: success
  type: list
  elements: str
  sample: [llama_cpp]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process, seal
from ansible.module_utils.mi50.serve import key


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "public_key": {"type": "str", "required": True, "no_log": False},
            "files": {"type": "dict", "required": True},
            "optional": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    sealed: dict[str, str] = {}
    there: list[str] = []
    public = module.params["public_key"]
    for name, path in module.params["files"].items():
        try:
            text = key.read(Path(path))
            if public:
                sealed[name] = seal.seal(text, public, process.run)
            there += [name] if text else []
        except (seal.SealError, OSError, ValueError) as error:
            if not module.params["optional"]:
                module.fail_json(msg=f"the key of {name} ({path}) cannot be handed on: {error}")
    module.exit_json(changed=False, sealed=sealed, there=there)


if __name__ == "__main__":
    main()
