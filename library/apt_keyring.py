#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module apt_keyring; the logic is in module_utils/mi50/apt/keyring.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_keyring
short_description: Keep a keyring that holds exactly the pinned keys
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Writes a binary OpenPGP keyring for the C(Signed-By) field of an apt source.
  - The key is checked against the pinned fingerprint before anything is written; other keys in the source are dropped.
  - Needs no network when the installed file already holds the pinned, unexpired keys, and no gpg at all.
options:
  path:
    description: The keyring file. Its directory is made with mode 0755.
    type: path
    required: true
  fingerprints:
    description: Full fingerprints of the primary keys the file shall hold.
    type: list
    elements: str
  url:
    description: Where to fetch the key when it is needed. Proxy environment variables are honoured.
    type: str
  src:
    description: A key file on the node, armored or binary.
    type: path
  content:
    description: The armored key itself.
    type: str
  state:
    description: Whether the keyring exists.
    type: str
    choices: [absent, present]
    default: present
  timeout:
    description: Seconds to wait for the server.
    type: int
    default: 30
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: debian
seealso:
  - module: ansible.builtin.deb822_repository
"""

EXAMPLES = r"""
- name: Trust the release key of ROCm
  apt_keyring:
    path: /etc/apt/keyrings/rocm.gpg
    fingerprints: ["CA8B B472 7A47 B4D0 9B4E E896 9386 B48A 1A69 3C5C"]
    url: https://repo.radeon.com/rocm/rocm.gpg.key
"""

RETURN = r"""
path:
  description: The keyring file.
  returned: always
  type: str
  sample: /etc/apt/keyrings/rocm.gpg
keys:
  description: The keys it holds (in check mode, would hold), with the day they expire.
  returned: always
  type: list
  elements: str
  sample: ["CA8B B472 7A47 B4D0 9B4E E896 9386 B48A 1A69 3C5C until 2029-01-01"]
"""

import os
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.apt import keyring, openpgp
from ansible.module_utils.urls import fetch_url

HTTP_OK = 200


def fetch(module: AnsibleModule) -> tuple[bytes, str]:
    """The offered key and where it came from; ends the module when it cannot be had."""
    params = module.params
    if params["content"]:
        return params["content"].encode(), "the given key text"
    if params["src"]:
        try:
            return Path(params["src"]).read_bytes(), params["src"]
        except OSError as error:
            module.fail_json(msg=f"cannot read the key file {params['src']}: {error.strerror}")
    response, info = fetch_url(module, params["url"], timeout=params["timeout"])
    if info["status"] == HTTP_OK or (response is not None and params["url"].startswith("file:")):
        return response.read(), params["url"]
    proxies = sorted(
        {value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy") and value}
    )
    through = f" (through the proxy {', '.join(proxies)})" if proxies else ""
    return module.fail_json(
        msg=f"cannot fetch the signing key {params['url']}{through}: {info['msg']}. Check the network, "
        f"mi50_http_proxy/mi50_https_proxy and "
        "mi50_url_radeon, or give a local copy of the key as rocm_apt_key_file; its fingerprint is checked all "
        "the same."
    )


def write(module: AnsibleModule, path: str, data: bytes) -> None:
    """Write the keyring in one step."""
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    module.atomic_move(temporary, path)
    module.set_mode_if_different(path, "0644", True)


def remove(module: AnsibleModule, path: str) -> None:
    """state: absent."""
    exists = Path(path).exists()
    if exists and not module.check_mode:
        Path(path).unlink()
    module.exit_json(
        changed=exists,
        path=path,
        keys=[],
        diff={"before_header": path, "before": f"{path}\n" if exists else "", "after": ""},
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "fingerprints": {"type": "list", "elements": "str", "no_log": False},
            "url": {"type": "str"},
            "src": {"type": "path"},
            "content": {"type": "str", "no_log": False},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "timeout": {"type": "int", "default": 30},
        },
        mutually_exclusive=[("url", "src", "content")],
        required_if=[("state", "present", ("fingerprints",)), ("state", "present", ("url", "src", "content"), True)],
        supports_check_mode=True,
    )
    path = module.params["path"]
    if module.params["state"] == "absent":
        remove(module, path)
    try:
        wanted = [openpgp.normalise_fingerprint(value) for value in module.params["fingerprints"]]
        installed = Path(path).read_bytes() if Path(path).is_file() else None
        plan = keyring.plan(installed, wanted, lambda: fetch(module), time.time())
    except (ValueError, keyring.KeyringError) as error:
        module.fail_json(msg=str(error))
    for warning in plan.warnings:
        module.warn(warning)
    if plan.data is not None and not module.check_mode:
        write(module, path, plan.data)
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (plan.before, plan.after))
    changed = plan.data is not None
    module.exit_json(
        changed=changed,
        path=path,
        keys=list(plan.after),
        diff={"before_header": path, "after_header": path, "before": before, "after": after},
    )


if __name__ == "__main__":
    main()
