#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/preflight.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check the inventory, then the host, and report
version_added: "0.1.0"
description:
  - Runs M(preflight_inventory), M(preflight_host) once the inventory is right, and M(preflight_report), in one task.
  - Changes nothing.
options:
  inventory:
    description: Whether the inventory is checked.
    type: bool
    default: true
  host:
    description: Whether the host is looked at. What it is asked stands in the variables of the role C(preflight).
    type: bool
    default: true
  also:
    description: Name of a module to the name of the variable with its options, see C(also) of M(preflight_host).
    type: dict
    default: {}
  let_go:
    description:
      - Name of a variable. When it is true, a node that is settled, needs no reboot and is in a run without tags gets
        its last words from this task, and RV(done) is true.
    type: str
    default: ""
  verify:
    description:
      - Whether the host is a finished one, which has to show that it works. M(node_verify) is asked O(also) then, with
        every byte proven, and everything goes into one report.
    type: bool
    default: false
  metrics:
    description:
      - File on the node that keeps the result for node-exporter, with O(verify). Not written in check mode, and no
        change of what the node is. Empty means none.
    type: str
    default: ""
  gateways:
    description: What each gateway does with the host, C(node_state) of M(gateway) by its name, with O(verify).
    type: dict
    default: {}
  dir:
    description: Folder on the controller for one JSON file a host. Relative paths count from the checkout.
    type: path
    required: true
  fail:
    description: Whether a failed check fails the task.
    type: bool
    default: true
attributes:
  check_mode:
    description: Runs the same in check mode; only the report is written.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on.
    platforms: debian
    support: full
seealso:
  - module: preflight_inventory
  - module: preflight_host
  - module: preflight_report
  - module: node_verify
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Check the inventory and the host
  preflight:
    dir: reports/preflight
  register: preflight_seen
"""

RETURN = r"""
ok:
  description: Whether no check failed.
  returned: always
  type: bool
  sample: false
host:
  description: Name of the host in the inventory.
  returned: always
  type: str
  sample: node1
checks:
  description: Every check, in the order of the report.
  returned: when no check failed, or O(fail) is false
  type: list
  elements: dict
  sample:
    - id: os.release
      title: Operating system
      status: ok
      found: Debian GNU/Linux 12 (bookworm)
      expected: one of ubuntu 24.04, ubuntu 22.04, debian 12
      remedy: ""
failures:
  description: Names of the checks that failed.
  returned: always
  type: list
  elements: str
  sample: [gpu.present]
path:
  description: The report on the controller.
  returned: always
  type: str
  sample: reports/preflight/node1.json
settled:
  description: As M(preflight_host) returns it.
  returned: when no check failed, or O(fail) is false
  type: bool
  sample: true
done:
  description: Whether the node lacks nothing and has nothing to say, see O(let_go).
  returned: when no check failed, or O(fail) is false
  type: bool
  sample: true
answers:
  description: As M(preflight_host) returns them.
  returned: when no check failed, or O(fail) is false
  type: dict
  sample: {gfx906_rocblas: {files: {/opt/rocm-6.4.3: 156}}}
"""
