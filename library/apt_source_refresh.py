#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module apt_source_refresh; the logic is in module_utils/mi50/apt/sources.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_source_refresh
short_description: Fetch the package lists of one apt source
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Runs C(apt-get update) for one deb822 source file alone, when its lists are missing or old,
    or the source or its key changed.
  - A bad signature, a tampered or unreachable repository and a broken proxy end in one sentence that names the file,
    the address and the way out.
  - Never reports a change, because fetching lists changes nothing that a host is declared to be.
options:
  path:
    description: The deb822 source file.
    type: path
    required: true
  keyring:
    description: The keyring that signs it; a changed keyring makes the lists stale.
    type: path
  build:
    description: Digits of the ROCm build, as in its apt versions; used to find packages installed from elsewhere.
    type: str
    required: true
  cache_valid_time:
    description: Seconds for which fetched lists are good.
    type: int
    default: 86400
  stamp_dir:
    description: Where the time and digest of the last refresh are kept.
    type: path
    default: /var/cache/mi50-aipc
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
- name: Fetch the package lists of ROCm
  apt_source_refresh:
    path: /etc/apt/sources.list.d/mi50-rocm.sources
    keyring: /etc/apt/keyrings/rocm.gpg
    build: "60403"
"""

RETURN = r"""
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
foreign:
  description: Installed packages that this source offers in O(build) but that came from elsewhere.
  returned: always
  type: list
  elements: str
  sample: [rocminfo]
"""

import json
import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.apt import dpkg, sources

ROOT = Path("/")


def refresh(module: AnsibleModule, found: list[sources.Source]) -> None:
    """Run apt-get update for this source alone; ends the module with one sentence when that fails."""
    path = module.params["path"]
    command = [
        module.get_bin_path("apt-get", True),
        "update",
        "-q",
        "-o",
        f"Dir::Etc::sourcelist={path}",
        *sources.OPTIONS,
    ]
    code, output, errors = module.run_command(command, environ_update={"LC_ALL": "C", "LANGUAGE": "C"})
    if code != 0:
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        error = sources.error(
            f"{output}\n{errors}", path, found, {name: os.environ[name] for name in names if os.environ.get(name)}
        )
        module.fail_json(msg=str(error), kind=error.kind)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keyring": {"type": "path", "no_log": False},
            "build": {"type": "str", "required": True},
            "cache_valid_time": {"type": "int", "default": 86400},
            "stamp_dir": {"type": "path", "default": "/var/cache/mi50-aipc"},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    if not path.exists():
        if module.check_mode:
            module.exit_json(changed=False, refreshed=False, reason=f"{path} does not exist yet", foreign=[])
        module.fail_json(msg=f"there is no apt source {path}: run the role's rocm_install tasks first")
    found = sources.read_sources(path.read_text())
    stamp = Path(module.params["stamp_dir"]) / f"{path.stem}.refreshed.json"
    value = sources.digest([path, *([Path(module.params["keyring"])] if module.params["keyring"] else [])])
    reason = sources.why_refresh(
        stamp, value, found, root=ROOT, valid_seconds=module.params["cache_valid_time"], now=time.time()
    )
    refreshed = bool(reason) and not module.check_mode
    if refreshed:
        refresh(module, found)
        stamp.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        stamp.write_text(json.dumps({"digest": value, "refreshed": time.time()}) + "\n")
    offered: dict[str, set[str]] = {}
    for source in found:
        offered.update(dpkg.offered(ROOT / sources.LISTS, source.list_prefix))
    foreign = dpkg.foreign(dpkg.read_status(ROOT), offered, module.params["build"])
    module.exit_json(changed=False, refreshed=refreshed, reason=reason or "", foreign=foreign)


if __name__ == "__main__":
    main()
