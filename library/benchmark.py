#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/benchmark.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure all engines of a host, one at a time
version_added: "0.2.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - For each engine, stops all of them, waits until the VRAM is back at its baseline, starts that one, waits until it
    answers, and measures its cells with M(llm_benchmark). At the end what ran before runs again.
  - Every cell is a job that outlives the connection; the controller follows it and brings its files home when it ends.
  - A cell that is measured is not measured again. Problems are returned, so that a report is made of what there is.
options:
  state:
    description: C(restored) measures nothing, it starts again what ran before a run that was interrupted.
    type: str
    choices: [measured, restored]
    default: measured
  engines:
    description: The engines, as C(benchmark_engines) of the role C(benchmark).
    type: raw
    required: true
  suite:
    description: What the lookup C(mi50_suite) returns.
    type: dict
    required: true
  run:
    description: What M(benchmark_run) returns.
    type: dict
    required: true
  dest:
    description: Folder of the run on the controller; one folder a host is made in it.
    type: path
    required: true
  dir:
    description: Directory of the benchmark's files on the node.
    type: path
    default: /var/lib/mi50-aipc/bench
  stop_units:
    description: Further units that are stopped while engines are measured.
    type: list
    elements: str
    default: []
  repeats:
    description: Measured requests a cell. 0 means the suite's own figure.
    type: int
    default: 0
  max_tokens:
    description: Most tokens of an answer. 0 means the suite's own figures.
    type: int
    default: 0
  measure:
    description: Further options, those of the option C(measure) of the module C(llm_benchmark).
    type: dict
    default: {}
  gpu:
    description: PCI address of the GPU.
    type: str
    default: ""
  sysfs_root:
    description: Where sysfs is mounted on the node.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted on the node.
    type: path
    default: /proc
  start_timeout:
    description: Seconds for a server to be ready.
    type: float
    default: 900
  settle_timeout:
    description: Seconds for the VRAM to be given back.
    type: float
    default: 60
  poll:
    description: Seconds between two looks at the progress.
    type: float
    default: 5
  lost_timeout:
    description: Seconds that a host may be away in the middle of a cell.
    type: float
    default: 900
  note:
    description: A sentence that stands in the records.
    type: str
    default: ""
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: In check mode the plan is returned and the host is not asked.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Measure
  benchmark:
    engines:
      - {name: llama.cpp, kind: llama.cpp, url: "http://127.0.0.1:8080", model: any}
    suite: "{{ lookup('mi50_suite', 'smoke', language='en') }}"
    run: {id: first}
    dest: reports/benchmark/first
"""

RETURN = r"""
cells:
  description: Number of cells that have a result.
  type: int
  returned: always
  sample: 12
statuses:
  description: How many of them have which status.
  type: dict
  returned: when measured
  sample: {OK: 11, UNSUPPORTED: 1}
problems:
  description: What went wrong beside the cells, such as an engine that did not start.
  type: list
  elements: str
  returned: always
  sample: []
lost:
  description: Whether the host went away.
  type: bool
  returned: always
  sample: false
plan:
  description: Engines, units and cells, in check mode.
  type: list
  elements: dict
  returned: in check mode
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Tell whoever calls the module without its action plugin."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["measured", "restored"], "default": "measured"},
            "engines": {"type": "raw", "required": True},
            "suite": {"type": "dict", "required": True},
            "run": {"type": "dict", "required": True},
            "dest": {"type": "path", "required": True},
            "dir": {"type": "path", "default": "/var/lib/mi50-aipc/bench"},
            "stop_units": {"type": "list", "elements": "str", "default": []},
            "repeats": {"type": "int", "default": 0},
            "max_tokens": {"type": "int", "default": 0, "no_log": False},
            "measure": {"type": "dict", "default": {}},
            "gpu": {"type": "str", "default": ""},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
            "start_timeout": {"type": "float", "default": 900},
            "settle_timeout": {"type": "float", "default": 60},
            "poll": {"type": "float", "default": 5},
            "lost_timeout": {"type": "float", "default": 900},
            "note": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="benchmark needs its action plugin: use the repository's ansible.cfg")


if __name__ == "__main__":
    main()
