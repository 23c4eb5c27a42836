#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module apt_source; the logic is in module_utils/mi50/apt and module_utils/mi50/config_files.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_source
short_description: An apt repository with its pinned key, proven before it is configured
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Keeps a deb822 source file, the keyring for its C(Signed-By) field and the small files that go with them.
  - The key is checked against the pinned fingerprints; other keys in the same file are dropped. No gpg is needed.
  - Then the repository's package lists are fetched through a source file and a keyring outside apt's configuration.
    Only when that worked is anything written, so a node keeps what it had whatever goes wrong.
  - A bad signature, a tampered or unreachable repository and a broken proxy end in one sentence that names the file,
    the address and the way out.
  - Without a difference and with fresh lists there is no network access at all. Fetched lists alone are no change.
options:
  path:
    description: The deb822 source file. The modules of this project remove it with M(config_files).
    type: path
    required: true
  uri:
    description: Address of the repository.
    type: str
    required: true
  suite:
    description: Its suite.
    type: str
    required: true
  components:
    description: Its components.
    type: list
    elements: str
    default: [main]
  architectures:
    description: Architectures to fetch.
    type: list
    elements: str
    default: [amd64]
  keyring:
    description: The keyring file.
    type: path
    required: true
  fingerprints:
    description: Full fingerprints of the primary keys the keyring shall hold.
    type: list
    elements: str
    required: true
  key_url:
    description: Where to fetch the key when it is needed. Proxy environment variables are honoured.
    type: str
  key_content:
    description: The armored key itself.
    type: str
  files:
    description: Files to write once the repository is proven, and before the source, such as its pin.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path. Missing directories are made with mode 0755.
        type: path
        required: true
      content:
        description: The whole text.
        type: str
        required: true
  build:
    description: Digits of the ROCm build, as in its apt versions; used to find packages installed from elsewhere.
    type: str
    required: true
  cache_valid_time:
    description: Seconds for which fetched lists are good.
    type: int
    default: 86400
  stamp_dir:
    description: Where the time and digest of the last refresh are kept, and candidates are tried.
    type: path
    default: /var/cache/mi50-aipc
  timeout:
    description: Seconds to wait for the key's server.
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
- name: Add ROCm's repository
  apt_source:
    path: /etc/apt/sources.list.d/mi50-rocm.sources
    uri: https://repo.radeon.com/rocm/apt/6.4.3
    suite: noble
    keyring: /etc/apt/keyrings/rocm.gpg
    fingerprints: ["CA8B B472 7A47 B4D0 9B4E E896 9386 B48A 1A69 3C5C"]
    key_url: https://repo.radeon.com/rocm/rocm.gpg.key
    build: "60403"
"""

RETURN = r"""
changed_paths:
  description: Files that were (in check mode, would be) written.
  returned: always
  type: list
  elements: str
  sample: [/etc/apt/keyrings/rocm.gpg]
trusted_keys:
  description: The keys of the keyring, with the day they expire.
  returned: always
  type: list
  elements: str
  sample: ["CA8B B472 7A47 B4D0 9B4E E896 9386 B48A 1A69 3C5C until 2029-01-01"]
refreshed:
  description: Whether the lists were fetched.
  returned: always
  type: bool
  sample: true
reason:
  description: Why they were fetched (in check mode, would be); empty when they were good.
  returned: always
  type: str
  sample: the source or its key changed
passing:
  description: Whether a later try may succeed, such as when the server does not answer.
  returned: when the key or the lists could not be had
  type: bool
  sample: true
foreign:
  description: Installed packages that this source offers in O(build) but that came from elsewhere, with that version.
  returned: always
  type: list
  elements: str
  sample: ["rocminfo=1.0.0.60403-128~22.04"]
"""

import json
import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import config_files
from ansible.module_utils.mi50.apt import keyring, sources, state
from ansible.module_utils.urls import fetch_url

ROOT = Path("/")
HTTP_OK = 200
# What fetch_url says of a server that did not answer at all, and of those that ask for patience.
NO_ANSWER = -1
TOO_MANY = 429
SERVER_ERROR = 500


def proxies() -> dict[str, str]:
    """The proxy variables that are set."""
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def fetch(module: AnsibleModule) -> tuple[bytes, str]:
    """The offered key and where it came from; ends the module when it cannot be had."""
    params = module.params
    if params["key_content"]:
        return params["key_content"].encode(), "the given key text"
    response, info = fetch_url(module, params["key_url"], timeout=params["timeout"])
    if info["status"] == HTTP_OK or (response is not None and params["key_url"].startswith("file:")):
        return response.read(), params["key_url"]
    through = f" (through the proxy {', '.join(sorted(set(proxies().values())))})" if proxies() else ""
    return module.fail_json(
        msg=f"cannot fetch the signing key {params['key_url']}{through}: {info['msg']}. Check the network, "
        "mi50_http_proxy/mi50_https_proxy and mi50_url_radeon, or give a local copy of the key as rocm_apt_key_file; "
        "its fingerprint is checked all the same.",
        passing=info["status"] in (NO_ANSWER, TOO_MANY) or info["status"] >= SERVER_ERROR,
    )


def prove(module: AnsibleModule, source: sources.Source, key: bytes) -> None:
    """Fetch the lists through a candidate; ends the module with one sentence when apt refuses."""
    params = module.params
    path = Path(params["path"])
    apt = module.get_bin_path("apt-get", True)
    with sources.candidate(source, params["architectures"], key, path.name, Path(params["stamp_dir"])) as (
        tried,
        update,
    ):
        code, output, errors = module.run_command([apt, *update], environ_update={"LC_ALL": "C", "LANGUAGE": "C"})
    if code != 0:
        said = f"{output}\n{errors}".replace(str(tried), str(path))
        error = sources.error(said, str(path), [source], proxies())
        module.fail_json(msg=str(error), kind=error.kind, passing=error.passing)


def options() -> dict[str, dict[str, object]]:
    """The argument specification."""
    file = {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}}
    return {
        "path": {"type": "path", "required": True},
        "uri": {"type": "str", "required": True},
        "suite": {"type": "str", "required": True},
        "components": {"type": "list", "elements": "str", "default": ["main"]},
        "architectures": {"type": "list", "elements": "str", "default": ["amd64"]},
        "keyring": {"type": "path", "required": True, "no_log": False},
        "fingerprints": {"type": "list", "elements": "str", "required": True, "no_log": False},
        "key_url": {"type": "str", "no_log": False},
        "key_content": {"type": "str", "no_log": False},
        "files": {"type": "list", "elements": "dict", "default": [], "options": file},
        "build": {"type": "str", "required": True},
        "cache_valid_time": {"type": "int", "default": 86400},
        "stamp_dir": {"type": "path", "default": "/var/cache/mi50-aipc"},
        "timeout": {"type": "int", "default": 30},
    }


def look(module: AnsibleModule, wanted: state.Settings) -> state.State:
    """Compare; ends the module for a wrong key."""
    try:
        found = state.look(wanted, lambda: fetch(module), root=ROOT, now=time.time())
    except (ValueError, keyring.KeyringError) as error:
        module.fail_json(msg=str(error))
    for warning in found.key.warnings:
        module.warn(warning)
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=options(),
        mutually_exclusive=[("key_url", "key_content")],
        required_one_of=[("key_url", "key_content")],
        supports_check_mode=True,
    )
    wanted = state.settings(module.params)
    found = look(module, wanted)
    refreshed = bool(found.reason) and not module.check_mode
    try:
        if refreshed:
            prove(module, wanted.source, found.trusted)
        if not module.check_mode:
            if found.new_key:
                config_files.write(wanted.keyring, found.trusted)
            config_files.apply(found.changes)
        if refreshed:
            wanted.stamp.write_text(json.dumps({"digest": found.digest, "refreshed": time.time()}) + "\n")
    except OSError as error:
        module.fail_json(msg=f"cannot write {error.filename}: {error.strerror}")
    ring = str(wanted.keyring)
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (found.key.before, found.key.after))
    key_diff = [{"before_header": ring, "after_header": ring, "before": before, "after": after}]
    module.exit_json(
        changed=found.new_key or bool(found.changes),
        changed_paths=[*([ring] if found.new_key else []), *(str(change.file.path) for change in found.changes)],
        trusted_keys=list(found.key.after),
        refreshed=refreshed,
        reason=found.reason or "",
        foreign=state.foreign(wanted, ROOT),
        diff=(key_diff if found.new_key else []) + [change.diff() for change in found.changes],
    )


if __name__ == "__main__":
    main()
