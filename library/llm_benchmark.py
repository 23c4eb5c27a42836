#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module llm_benchmark; the logic is in module_utils/mi50/bench."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_benchmark
short_description: Measure one cell of the benchmark against a running OpenAI-compatible server
version_added: "0.2.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - One call measures one cell (engine x model x task x mode) on the node itself and writes every request to a JSONL
    file, line by line, so that nothing measured is lost. A cell that is finished there already is not measured again.
  - A status other than C(OK) is a result and does not fail the task. Only unusable parameters do.
  - Nothing but the run's directory is written. The API key is read from a file and appears nowhere.
options:
  action:
    description:
      - C(cell) measures O(task). C(baseline) records the VRAM at O(phase).
      - C(probe) says what the server is and measures nothing. C(summary) lists finished cells and files.
    type: str
    choices: [cell, baseline, probe, summary]
    default: cell
  phase:
    description: For O(action=baseline). Before the engine is started, when it has loaded, after it was stopped.
    type: str
    choices: [before, loaded, after]
    default: before
  fail_on_dirty:
    description: Fail when the baseline before an engine is dirty, instead of returning the status C(DIRTY_BASELINE).
    type: bool
    default: false
  dirty_limit_mib:
    description: VRAM in MiB that may be in use before an engine is started.
    type: int
    default: 512
  run:
    description: Which run this belongs to.
    type: dict
    required: true
    suboptions:
      id:
        description: Id of the run, the same on all nodes. Letters, digits, dots, dashes.
        type: str
        required: true
      dir:
        description: Directory for the runs' files.
        type: path
        default: /var/lib/mi50-aipc/bench
      suite_id:
        description: Id of the suite.
        type: str
        default: ad-hoc
      suite_sha256:
        description: SHA-256 of the suite's files.
        type: str
      node:
        description: The node's name in the inventory. The host name when not given.
        type: str
      commit:
        description: Commit of this repository.
        type: str
      note:
        description: A sentence that stands in the records, such as that this is a lab.
        type: str
      index:
        description: Which cell of the suite this is, for the progress.
        type: int
        default: 0
      of:
        description: How many cells the suite has, for the progress.
        type: int
        default: 0
  engine:
    description:
      - The server. C(kind) (C(llama.cpp), C(lmstudio), C(vllm), C(lmdeploy), C(ollama) or C(openai), which is the
        default) and C(url) (without C(/v1)) say where and how it is asked.
      - C(api_key_file) names a file with the key, readable by its owner only; C(ca_file) certificates to trust.
      - C(name) is its name in records and file names, C(kind) when not given. C(pid), C(version), C(commit) and
        C(image_digest) are for what the server does not tell. C(backend), such as C(vulkan), is what it is meant to
        run on; another one that is seen makes the cell C(UNSUPPORTED).
    type: dict
    required: true
  model:
    description:
      - The model. C(requested) is the name that is sent, C(key) the model's name in the suite.
      - C(file), C(sha256), C(bytes), C(format), C(bpw), C(kv_type), C(mmproj_sha256) describe its file. C(context) is
        the length that the server shall have; less makes the cell C(UNSUPPORTED).
      - C(unsupported) says why this engine cannot run it. The cell is C(UNSUPPORTED) then and nothing is sent.
      - C(roofline) has the figures of the plausibility gate. C(active_bytes) and C(active_params) a token,
        C(kv_bytes_token) of the global layers, C(kv_bytes_token_local), C(window), C(layers_global), C(layers_local),
        C(heads), C(head_dim); C(bandwidth_gbs) and C(tflops) are an MI50's (1024, 53) when not given.
    type: dict
  task:
    description:
      - The cell, one task of a suite as its loader gives it (docs/benchmark.md). C(id), C(kind) (C(text) or C(image)),
        C(prompt), C(images) with C(path) and C(sha256), C(max_tokens), C(min_tokens), C(sampling), C(checks),
        C(mode) (C(natural) or C(fixed)), C(context), C(concurrency), C(lengths), C(probe), C(lang), C(title).
    type: dict
  measure:
    description:
      - How it is measured. C(repeats) (6, less give no interval), C(max_repeats) (12) while the interval is wider than
        C(ci_target) (0.05 of the median), C(warmups) (1), C(controls) (the coherence probe and the deliberate repeat).
      - C(thermal) is C(warm) (preheat to a steady temperature, C(preheat_cap) 600 s at most), C(idle) or C(off).
        C(throttle_temp) (100 degrees Celsius) counts as throttling. C(sample_hz) (10) sensor readings a second.
      - Seconds are C(load_timeout) (600, for a server that is not ready), C(connect_timeout) (10), C(prefill_timeout)
        (1800, to the first token), C(stall_timeout) (30, between tokens), C(total_timeout) (7200).
      - C(keep_going) (2) failed requests end a cell. C(redo) lists statuses of finished cells to measure again.
    type: dict
    default: {}
  gpu:
    description: PCI address of the GPU. The only gfx906 card when not given. C(none) for a node without one.
    type: str
  where:
    description: Where the client runs. C(controller) is a second figure that has the network in it.
    type: str
    choices: [node, controller]
    default: node
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: In check mode the plan of the cell is returned and nothing is sent or written.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Record the VRAM in use before the engine is started
  llm_benchmark:
    action: baseline
    phase: before
    run: {id: 2026-11-22, suite_id: blog-2025-10}
    engine: {kind: llama.cpp, url: "http://127.0.0.1:8080"}

- name: Measure one task
  llm_benchmark:
    run: {id: 2026-11-22, suite_id: blog-2025-10, node: "{{ inventory_hostname }}"}
    engine: {kind: llama.cpp, url: "http://127.0.0.1:8080", api_key_file: /etc/mi50-aipc/llama.key}
    model: {requested: gemma3-27b-it-qat, key: gemma3-27b-it-qat, context: 131072}
    task:
      id: algebra
      kind: text
      mode: natural
      prompt: "Solve 3x + 4 = 19."
      max_tokens: 1024
      checks: [{id: value, kind: number, value: 5}]
  async: 7200
  poll: 15
  register: __benchmark_cell
"""

RETURN = r"""
status:
  description: Status of the cell or the baseline, C(OK) or one of those in docs/benchmark.md.
  returned: for O(action=cell) and O(action=baseline), not in check mode
  type: str
  sample: OK
cell:
  description: The cell's record, as it stands in the JSONL file (module_utils/mi50/bench/schema.json).
  returned: for O(action=cell), not in check mode
  type: dict
  sample: {cell_id: gemma3-27b-it-qat.algebra.natural, status: OK, ok: 6, measured: 6}
resumed:
  description: Whether the cell was finished before, so that nothing was sent now.
  returned: for O(action=cell), not in check mode
  type: bool
  sample: false
baseline:
  description: The baseline's record.
  returned: for O(action=baseline), not in check mode
  type: dict
  sample: {phase: before, vram_used: 14680064, status: OK}
plan:
  description: What would be done.
  returned: in check mode
  type: dict
  sample: {cell_id: gemma3-27b-it-qat.algebra.natural, finished: false, requests: 9}
file:
  description: The run's JSONL file on the node.
  returned: for all but O(action=probe), not in check mode
  type: str
  sample: /var/lib/mi50-aipc/bench/2026-11-22/llama.cpp.jsonl
reachable:
  description: Whether the server answers.
  returned: for O(action=probe)
  type: bool
  sample: true
framework:
  description: What the server says of itself and what its process shows.
  returned: for O(action=probe)
  type: dict
  sample: {kind: llama.cpp, version: b11669, slots: 1}
model:
  description: What is known of the model.
  returned: for O(action=probe)
  type: dict
  sample: {key: gemma3-27b-it-qat, ctx_effective: 131072}
cells:
  description: The finished cells of the run on this node.
  returned: for O(action=summary)
  type: list
  elements: dict
  sample: [{cell_id: gemma3-27b-it-qat.algebra.natural, status: OK, ok: 6, measured: 6, prefill: 420.1, decode: 24.2}]
files:
  description: The engine's files, relative to the run's directory.
  returned: for O(action=summary)
  type: list
  elements: str
  sample: [llama.cpp.jsonl]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.bench import api, host
from ansible.module_utils.mi50.bench.settings import SettingsError

RUN = {
    "id": {"type": "str", "required": True},
    "dir": {"type": "path", "default": api.DEFAULT_DIR},
    "suite_id": {"type": "str", "default": "ad-hoc"},
    "suite_sha256": {"type": "str"},
    "node": {"type": "str"},
    "commit": {"type": "str"},
    "note": {"type": "str"},
    "index": {"type": "int", "default": 0},
    "of": {"type": "int", "default": 0},
}


def _act(module: AnsibleModule, roots: host.Roots) -> dict[str, Any]:
    """Do what `action` says."""
    params = module.params

    def notify(step: dict[str, Any]) -> None:
        module.log(f"{step['cell_id']}: {step['phase']} {step['rep']}/{step['reps']} {step['message']}".rstrip())

    action = params["action"]
    if action == "probe":
        return api.identify(params, roots)
    if action == "summary":
        return api.summary(params)
    if action == "baseline":
        return api.take_baseline(params, roots, params["phase"], params["dirty_limit_mib"], check=module.check_mode)
    return api.measure(params, roots, notify, check=module.check_mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["cell", "baseline", "probe", "summary"], "default": "cell"},
            "phase": {"type": "str", "choices": ["before", "loaded", "after"], "default": "before"},
            "fail_on_dirty": {"type": "bool", "default": False},
            "dirty_limit_mib": {"type": "int", "default": 512},
            "run": {"type": "dict", "required": True, "options": RUN},
            "engine": {"type": "dict", "required": True},
            "model": {"type": "dict"},
            "task": {"type": "dict"},
            "measure": {"type": "dict", "default": {}},
            "gpu": {"type": "str"},
            "where": {"type": "str", "choices": ["node", "controller"], "default": "node"},
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
        },
        required_if=[("action", "cell", ("model", "task"))],
        supports_check_mode=True,
    )
    roots = host.Roots(Path(module.params["sysfs_root"]), Path(module.params["proc_root"]))
    try:
        result = _act(module, roots)
    except SettingsError as error:
        module.fail_json(msg=str(error))
    if module.params["fail_on_dirty"] and result.get("status") == "DIRTY_BASELINE":
        module.fail_json(msg=result["baseline"]["reason"], **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
