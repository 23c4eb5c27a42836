#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/preflight_inventory.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_inventory
short_description: Check the inventory before a host is contacted
version_added: "0.1.0"
description:
  - Looks at this project's variables, the stack and its lock file, addresses, proxies and the hosts of the play, on
    the controller and without a connection.
  - Changes nothing and does not fail for what it finds; M(preflight_report) turns the checks into a verdict.
options: {}
attributes:
  check_mode:
    description: Runs the same in check mode, because it changes nothing.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on. It runs on the controller.
    platforms: posix
    support: full
seealso:
  - module: preflight_host
  - module: preflight_report
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Check the inventory
  preflight_inventory:
  register: inventory

- name: Look at the host once the inventory is right
  preflight_host:
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
  when: inventory.ready
"""

RETURN = r"""
checks:
  description: One entry a check, as M(preflight_host) returns them.
  returned: always
  type: list
  elements: dict
  sample:
    - id: inventory.types
      title: Types
      status: fail
      found: "mi50_reboot is 'maybe', not one of never, ask, auto"
      expected: ""
      remedy: Correct the value in the inventory
ready:
  description: Whether the inventory is right enough to look at the host.
  returned: always
  type: bool
  sample: true
"""
