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
    description: The server.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the engine in records and file names. The kind when not given.
        type: str
      kind:
        description: Which adapter is used.
        type: str
        choices: [llama.cpp, lmstudio, vllm, lmdeploy, ollama, openai]
        default: openai
      url:
        description: Address of the server, without C(/v1).
        type: str
        required: true
      api_key_file:
        description: File with the API key, readable by its owner only.
        type: path
      pid:
        description: Process id of the server. Found by the port it listens on when not given.
        type: int
      version:
        description: Version of the engine, when the server does not tell it.
        type: str
      commit:
        description: Commit it was built from.
        type: str
      image_digest:
        description: Digest of its container image.
        type: str
      backend:
        description: Backend that it is meant to run on, such as C(vulkan). Another one reported makes the cell C(UNSUPPORTED).
        type: str
      ca_file:
        description: Certificates to trust for an https address.
        type: path
  model:
    description: The model.
    type: dict
    suboptions:
      key:
        description: The model's key in the suite, the same for all engines. The name requested when not given.
        type: str
      requested:
        description: The name that is sent in requests.
        type: str
        required: true
      file:
        description: The model file.
        type: str
      sha256:
        description: SHA-256 of the model file.
        type: str
      bytes:
        description: Size of the weights in bytes.
        type: int
      format:
        description: Format and quantisation, such as C(gguf q4_0).
        type: str
      bpw:
        description: Bits per weight.
        type: float
      kv_type:
        description: Type of the KV cache.
        type: str
      mmproj_sha256:
        description: SHA-256 of the vision projector.
        type: str
      context:
        description: Context length that the server shall have. Less makes the cell C(UNSUPPORTED).
        type: int
      unsupported:
        description: Why this engine cannot run this model. Given, the cell is C(UNSUPPORTED) and nothing is sent.
        type: str
      roofline:
        description:
          - Figures for the plausibility gate. C(active_bytes) and C(active_params) per token, C(layers_global),
            C(layers_local), C(window), C(kv_bytes_token) (of the global layers), C(heads), C(head_dim).
          - C(bandwidth_gbs) and C(tflops) of the device. Those of an MI50 (1024, 53) when not given.
        type: dict
  task:
    description:
      - The cell, one task of a suite as its loader gives it (docs/benchmark.md). C(id), C(kind) (C(text) or C(image)),
        C(prompt), C(images) with C(path) and C(sha256), C(max_tokens), C(min_tokens), C(sampling), C(checks),
        C(mode) (C(natural) or C(fixed)), C(context), C(concurrency), C(lengths), C(probe), C(lang), C(title).
    type: dict
  measure:
    description: How it is measured.
    type: dict
    default: {}
    suboptions:
      repeats:
        description: Measured requests at least. Less than 6 gives no interval.
        type: int
        default: 6
      max_repeats:
        description: Measured requests at most, while the interval is wider than O(measure.ci_target).
        type: int
        default: 12
      ci_target:
        description: Wanted width of the median's interval, as a share of the median.
        type: float
        default: 0.05
      warmups:
        description: Discarded requests before them.
        type: int
        default: 1
      thermal:
        description: Preheat to a steady temperature (C(warm)), measure from idle (C(idle)), or neither (C(off)).
        type: str
        choices: [warm, idle, "off"]
        default: warm
      preheat_cap:
        description: Seconds that the preheat may take at most.
        type: int
        default: 600
      throttle_temp:
        description: Junction temperature in degrees Celsius that counts as throttling.
        type: float
        default: 100.0
      sample_hz:
        description: Sensor readings a second.
        type: float
        default: 10.0
      controls:
        description: Send the coherence probe and the deliberate repeat.
        type: bool
        default: true
      calibrate:
        description: Calibrate the client on loopback once a run.
        type: bool
        default: true
      load_timeout:
        description: Seconds to wait for a server that refuses connections or is loading.
        type: float
        default: 600.0
      connect_timeout:
        description: Seconds for one connection.
        type: float
        default: 10.0
      prefill_timeout:
        description: Seconds to the first token.
        type: float
        default: 1800.0
      stall_timeout:
        description: Seconds between two tokens.
        type: float
        default: 30.0
      total_timeout:
        description: Seconds for one request.
        type: float
        default: 7200.0
      keep_going:
        description: Failed requests of a cell after which it is given up.
        type: int
        default: 2
      redo:
        description: Statuses of finished cells that are measured again when the run goes on.
        type: list
        elements: str
        default: [SERVER_DIED, TIMEOUT_CONNECT, HTTP_503_LOADING, GPU_RESET, DIRTY_BASELINE]
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

- name: Show what was measured
  ansible.builtin.debug:
    msg: "{{ __benchmark_cell.status }}: {{ __benchmark_cell.cell.headline.decode.median }} tok/s"
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
  returned: for O(action=cell) and O(action=baseline), not in check mode
  type: str
  sample: /var/lib/mi50-aipc/bench/2026-11-22/llama.cpp.jsonl
reachable:
  description: Whether the server answers.
  returned: for O(action=probe)
  type: bool
  sample: true
models:
  description: The models that the server offers.
  returned: for O(action=probe)
  type: list
  elements: str
  sample: [gemma3-27b-it-qat]
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
directory:
  description: The run's directory on the node.
  returned: for O(action=summary)
  type: str
  sample: /var/lib/mi50-aipc/bench/2026-11-22
files:
  description: The engine's files, relative to RV(directory).
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

REDO = ["SERVER_DIED", "TIMEOUT_CONNECT", "HTTP_503_LOADING", "GPU_RESET", "DIRTY_BASELINE"]
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
ENGINE = {
    "name": {"type": "str"},
    "kind": {
        "type": "str",
        "choices": ["llama.cpp", "lmstudio", "vllm", "lmdeploy", "ollama", "openai"],
        "default": "openai",
    },
    "url": {"type": "str", "required": True},
    # The path of a file, not a key: the file is read on the node, and its content is returned nowhere.
    "api_key_file": {"type": "path", "no_log": False},
    "pid": {"type": "int"},
    "version": {"type": "str"},
    "commit": {"type": "str"},
    "image_digest": {"type": "str"},
    "backend": {"type": "str"},
    "ca_file": {"type": "path"},
}
MODEL = {
    "key": {"type": "str", "no_log": False},
    "requested": {"type": "str", "required": True},
    "file": {"type": "str"},
    "sha256": {"type": "str"},
    "bytes": {"type": "int"},
    "format": {"type": "str"},
    "bpw": {"type": "float"},
    "kv_type": {"type": "str"},
    "mmproj_sha256": {"type": "str"},
    "context": {"type": "int"},
    "unsupported": {"type": "str"},
    "roofline": {"type": "dict"},
}
MEASURE = {
    "repeats": {"type": "int", "default": 6},
    "max_repeats": {"type": "int", "default": 12},
    "ci_target": {"type": "float", "default": 0.05},
    "warmups": {"type": "int", "default": 1},
    "thermal": {"type": "str", "choices": ["warm", "idle", "off"], "default": "warm"},
    "preheat_cap": {"type": "int", "default": 600},
    "throttle_temp": {"type": "float", "default": 100.0},
    "sample_hz": {"type": "float", "default": 10.0},
    "controls": {"type": "bool", "default": True},
    "calibrate": {"type": "bool", "default": True},
    "load_timeout": {"type": "float", "default": 600.0},
    "connect_timeout": {"type": "float", "default": 10.0},
    "prefill_timeout": {"type": "float", "default": 1800.0},
    "stall_timeout": {"type": "float", "default": 30.0},
    "total_timeout": {"type": "float", "default": 7200.0},
    "keep_going": {"type": "int", "default": 2},
    "redo": {"type": "list", "elements": "str", "default": REDO},
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
            "engine": {"type": "dict", "required": True, "options": ENGINE},
            "model": {"type": "dict", "options": MODEL},
            "task": {"type": "dict"},
            "measure": {"type": "dict", "options": MEASURE, "default": {}},
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
