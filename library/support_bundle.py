#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/support_bundle.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_bundle
short_description: One archive a node of what a maintainer needs, without secrets and names
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Calls M(support_collect) on the node, adds the inventory's settings of roles, the last reports and the versions of
    the controller, takes out what the inventory knows of names, addresses and secrets, and writes a C(.tar.gz) of mode
    0600.
  - Refuses to write an archive that still holds a value that is known to be secret.
options:
  dir:
    description: Folder on the controller. Relative paths count from the checkout.
    type: path
    required: true
  reports:
    description: Folder of preflight's and verify's reports on the controller.
    type: path
    default: reports
attributes:
  check_mode:
    description: Collects and shows, writes no archive.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on.
    platforms: debian
    support: full
seealso:
  - module: support_collect
"""

EXAMPLES = r"""
- name: Make a support bundle
  support_bundle:
    dir: reports/support
"""

RETURN = r"""
path:
  description: The archive on the controller.
  returned: without check mode
  type: str
  sample: /home/me/mi50-aipc/reports/support/node-1-20261123T061500Z.tar.gz
bytes:
  description: Size of the archive.
  returned: without check mode
  type: int
  sample: 48123
listing:
  description: One line a file, with its size.
  returned: always
  type: list
  elements: str
  sample: ["      83  system/uname"]
counts:
  description: How often each kind was taken out, on the node and on the controller.
  returned: always
  type: dict
  sample: {secret: 2, host: 14}
"""
