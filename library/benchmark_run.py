#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/benchmark_run.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_run
short_description: Begin a run of the benchmark, or go on with one that was interrupted
version_added: "0.2.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Keeps a register of runs on the controller. A run that measures the same and was not finished is gone on with.
options:
  state:
    description: C(begun) returns the run to work on. C(finished) closes it.
    type: str
    choices: [begun, finished]
    default: begun
  dir:
    description: Folder of all runs on the controller. Relative paths count from the checkout.
    type: path
    required: true
  id:
    description:
      - The run. Empty means the newest unfinished one that measures the same, else a new one named after the time.
      - C(new) begins a new one in any case.
    type: str
    default: ""
  what:
    description: What is measured. Two runs are the same when this is.
    type: dict
    default: {}
  against:
    description: Folders of earlier runs to compare with; one that does not exist is an error.
    type: list
    elements: path
    default: []
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
    platforms: posix
"""

EXAMPLES = r"""
- name: Begin or go on
  benchmark_run:
    dir: reports/benchmark
    what: {suite: smoke}
  register: __benchmark_run
"""

RETURN = r"""
id:
  description: Id of the run.
  type: str
  returned: always
  sample: 2026-11-22-201500
resumed:
  description: Whether it had been begun before.
  type: bool
  returned: when begun
  sample: false
dir:
  description: The run's folder on the controller.
  type: str
  returned: when begun
  sample: reports/benchmark/2026-11-22-201500
commit:
  description: Commit of this repository, with a plus when files were changed. Empty outside of git.
  type: str
  returned: when begun
  sample: 9f0c8a6
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Tell whoever calls the module without its action plugin."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["begun", "finished"], "default": "begun"},
            "dir": {"type": "path", "required": True},
            "id": {"type": "str", "default": ""},
            "what": {"type": "dict", "default": {}},
            "against": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    module.fail_json(
        msg="benchmark_run needs its action plugin: set action_plugins as the repository's ansible.cfg does"
    )


if __name__ == "__main__":
    main()
