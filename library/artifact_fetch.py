#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have files on the node, fetched once and proven."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_fetch
short_description: Have files from upstream hosts on the node, fetched once and proven
version_added: "0.1.0"
description:
  - Fetches what is missing of a list of files, and asks no address at all when everything is there.
  - An interrupted transfer is taken up where it broke off, within the run and by the next one, if the server can.
  - Space is looked at before, size and digest after the transfer; a file that fails is not kept, and the old one stays
    until the new one is proven.
  - Remembers beside each file (C(<dest>.fetched.json)) where it came from and what it is, so that an unchanged run
    hashes nothing.
author:
  - mi50-aipc authors (@mi50-aipc)
options:
  files:
    description: The files. Missing parent directories are made, with mode 0755.
    type: list
    elements: dict
    required: true
    suboptions:
      url:
        description: Address, with C(http), C(https) or C(file).
        type: str
        required: true
      dest:
        description: Path of the file on the node.
        type: path
        required: true
      sha256:
        description:
          - Digest the file must have, in hexadecimal. Empty or not given means it is not known.
          - Without it, a file that is there counts only if it came from the same O(files[].url).
        type: str
        default: ""
      size:
        description: Size in bytes the file must have.
        type: int
      mode:
        description: Permissions of the file, in octal.
        type: str
        default: "0644"
  timeout:
    description: Seconds without a byte after which a transfer counts as interrupted.
    type: int
    default: 60
  retries:
    description: How often an interrupted transfer is taken up again within this run.
    type: int
    default: 3
notes:
  - Takes its proxies from the environment (C(http_proxy), C(https_proxy), C(no_proxy)); set C(environment) of the task.
attributes:
  check_mode:
    description: Says what would be fetched; asks no address and writes nothing.
    support: full
  diff_mode:
    description: Lists the files that are fetched, and why.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Fetch a package and its signature
  artifact_fetch:
    files:
      - url: https://mirror.example/rocblas-6.4.3-3-x86_64.pkg.tar.zst
        dest: /var/cache/mi50-aipc/rocblas-6.4.3-3-x86_64.pkg.tar.zst
        sha256: 05613a07d3fba2feaa8b81a86a22bc142dd4fb6630c44c416883a33bf22a1cdb
      - url: https://mirror.example/rocblas-6.4.3-3-x86_64.pkg.tar.zst.sig
        dest: /var/cache/mi50-aipc/rocblas-6.4.3-3-x86_64.pkg.tar.zst.sig
  environment:
    https_proxy: http://proxy.example:3128
"""

RETURN = r"""
files:
  description: The files in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    dest:
      description: Path of the file.
      type: str
      returned: always
      sample: /var/cache/mi50-aipc/rocblas-6.4.3-3-x86_64.pkg.tar.zst
    url:
      description: Its address, without a password.
      type: str
      returned: always
      sample: https://mirror.example/rocblas-6.4.3-3-x86_64.pkg.tar.zst
    changed:
      description: Whether the file was fetched or its mode changed.
      type: bool
      returned: always
      sample: true
    fetched:
      description: Whether it was fetched, or would be in check mode.
      type: bool
      returned: always
      sample: true
    sha256:
      description: Its digest; null in check mode for a file to be fetched.
      type: str
      returned: always
      sample: 05613a07d3fba2feaa8b81a86a22bc142dd4fb6630c44c416883a33bf22a1cdb
    size:
      description: Its size in bytes; null in check mode for a file to be fetched.
      type: int
      returned: always
      sample: 280155896
    bytes_received:
      description: Bytes that crossed the network for it.
      type: int
      returned: always
      sample: 280155896
bytes_received:
  description: Bytes that crossed the network for all of them.
  returned: success
  type: int
  sample: 280156462
passing:
  description: Whether a later try may succeed, such as when a server does not answer.
  returned: failure
  type: bool
  sample: true
diff:
  description: What is fetched, and why.
  returned: success
  type: dict
  sample: {before: "", after: "https://mirror.example/x -> /var/cache/mi50-aipc/x (missing)\n"}
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.fetch.download import Wanted
from ansible.module_utils.mi50.fetch.ensure import ensure
from ansible.module_utils.mi50.fetch.errors import FetchError, Interrupted

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
MODE = re.compile(r"[0-7]{3,4}")


def wanted(given: dict[str, Any]) -> Wanted:
    """Check one entry of `files`. Raises FetchError."""
    url, dest = given["url"], given["dest"]
    if given["sha256"] and not SHA256.fullmatch(given["sha256"]):
        raise FetchError(f"files: sha256 of {url}: {given['sha256']!r} is no sha256; it has 64 hexadecimal digits.")
    if not MODE.fullmatch(given["mode"]):
        raise FetchError(f"files: mode of {url}: {given['mode']!r} is no octal mode; quote it, for example '0644'.")
    if not Path(dest).is_absolute():
        raise FetchError(f"files: dest of {url}: {dest} is not absolute.")
    return Wanted(url, Path(dest), given["sha256"] or None, given["size"], int(given["mode"], 8))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "url": {"type": "str", "required": True},
                    "dest": {"type": "path", "required": True},
                    "sha256": {"type": "str", "default": ""},
                    "size": {"type": "int"},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "timeout": {"type": "int", "default": 60},
            "retries": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    try:
        result = ensure(
            [wanted(given) for given in module.params["files"]],
            check_mode=module.check_mode,
            timeout=module.params["timeout"],
            retries=module.params["retries"],
        )
    except FetchError as error:
        module.fail_json(msg=str(error), passing=isinstance(error, Interrupted))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
