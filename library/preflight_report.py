#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/preflight_report.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Write, show and judge the preflight checks of a host
version_added: "0.1.0"
description:
  - Merges the checks of M(preflight_inventory) and M(preflight_host) into one report, writes it on the controller as
    JSON and prints what needs attention; with C(-v) every check.
  - Fails when a check failed. The message names each failed check and what it found, the printed table the remedies.
  - Writes in check mode as well, because the report describes the host and is not a change to it.
options:
  checks:
    description: Checks, or lists of checks.
    type: list
    elements: raw
    required: true
  dir:
    description: Folder on the controller for one JSON file a host. Relative paths count from the checkout.
    type: path
    required: true
  name:
    description: What the table and the message are headed with.
    type: str
    default: preflight
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
    description: Systems it runs on. It runs on the controller.
    platforms: posix
    support: full
seealso:
  - module: preflight_inventory
  - module: preflight_host
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Report
  preflight_report:
    checks:
      - "{{ inventory.checks }}"
      - "{{ host.checks | default([]) }}"
    dir: reports/preflight
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
"""
