#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/llm_benchmark_report.py; the node gets none of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_benchmark_report
short_description: Make the report of benchmark runs
version_added: "0.1.0"
description:
  - Turns the JSONL of any number of nodes, engines and runs into one self-contained HTML page, Markdown in the shape
    of the blog's table, CSV and JSON. Runs on the controller.
  - Every figure is computed again from the recorded requests and raw streams. Where that gives something else than
    the node stored, the report says so.
  - A cell that failed is shown with its status and reason, never left out. What cannot be read (a line cut by a kill,
    an unknown schema version, a cell that is there twice) is named; the rest is shown.
options:
  sources:
    description: Folders and JSONL files of runs on the controller. Relative paths count from the checkout.
    type: list
    elements: path
    required: true
  dest:
    description: Folder for C(report.html), C(report.md), C(report.csv) and C(report.json).
    type: path
    required: true
  against:
    description: Runs (A) that those of O(sources) (B) are compared with.
    type: list
    elements: path
    default: []
  across:
    description:
      - Parts of the key and conditions that may differ between cells that are compared, such as C(commit) for two
        builds of an engine. Cells that differ in another condition get no verdict.
    type: list
    elements: str
    choices: [node, gpu, engine, commit, weights, driver, power, clocks, backend, client, kv, load]
    default: []
  title:
    description: Title of the report.
    type: str
    default: LLM benchmark
  language:
    description: Language of the heads of the blog's table.
    type: str
    choices: [en, zh]
    default: en
  formats:
    description: Files to make.
    type: list
    elements: str
    choices: [html, md, csv, json]
    default: [html, md, csv, json]
attributes:
  check_mode:
    description: In check mode everything is read and computed, and nothing is written.
    support: full
  diff_mode:
    description: There is no diff; the files are made anew.
    support: none
  platform:
    description: Systems it runs on. It runs on the controller.
    platforms: posix
    support: full
requirements:
  - matplotlib
  - jinja2
  - jsonschema
seealso:
  - module: llm_benchmark
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Report what was fetched from all nodes
  llm_benchmark_report:
    sources: [reports/benchmark]
    dest: reports/benchmark/report
  run_once: true

- name: Compare with the run before the engine's update
  llm_benchmark_report:
    sources: [reports/benchmark/2026-11-22]
    against: [reports/benchmark/2026-10-01]
    across: [commit]
    dest: reports/benchmark/compared
  run_once: true
"""

RETURN = r"""
files:
  description: Paths on the controller of what was made, by format.
  returned: always
  type: dict
  sample:
    html: reports/benchmark/report/report.html
    md: reports/benchmark/report/report.md
cells:
  description: How many cells were reported.
  returned: always
  type: int
  sample: 16
cells_ok:
  description: How many of them have status OK.
  returned: always
  type: int
  sample: 15
statuses:
  description: How many cells have each status.
  returned: always
  type: dict
  sample:
    OK: 15
    OOM: 1
problems:
  description: What could not be read or does not fit together, one sentence each.
  returned: always
  type: list
  elements: str
  sample: []
verdicts:
  description: How many figures got each verdict; empty without O(against).
  returned: always
  type: dict
  sample:
    faster: 12
    inconclusive: 4
"""
