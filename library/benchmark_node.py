#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module benchmark_node; the logic is in module_utils/mi50/benchrun."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_node
short_description: Switch a node's engines for the benchmark and hand over its results
version_added: "0.2.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - What M(benchmark) asks of a node between the calls of M(llm_benchmark).
  - Remembers in a file below O(dir) which units ran before, until O(action=restore) has started them again.
options:
  action:
    description:
      - C(prepare) makes O(dir), says whether a cell is still being measured there and which of O(files) are missing.
      - C(put) writes one file. C(stop) stops all O(units). C(start) starts O(unit) and waits for its server.
      - C(restore) starts again what ran before. C(collect) returns what O(have) lacks of a run's files.
      - C(engines) says which services of this repository's roles are installed.
    type: str
    choices: [engines, prepare, put, stop, start, restore, collect]
    required: true
  dir:
    description: Directory of the benchmark's files.
    type: path
    default: /var/lib/mi50-aipc/bench
  run_id:
    description: Id of the run.
    type: str
    default: ""
  files:
    description: SHA-256 of the pictures that the run needs, by file name.
    type: dict
    default: {}
  data:
    description: For C(put), the content in base64 by file name.
    type: dict
    default: {}
  units:
    description: Units that hold the GPU and are stopped, those of all engines.
    type: list
    elements: str
    default: []
  unit:
    description: The unit to start. Empty for a server that runs already.
    type: str
    default: ""
  url:
    description: Address of its server.
    type: str
    default: ""
  kind:
    description: Its adapter.
    type: str
    default: openai
  api_key_file:
    description: File with its API key.
    type: path
    default: ""
  ca_file:
    description: Certificates to trust.
    type: path
    default: ""
  timeout:
    description: Seconds to wait for the server.
    type: float
    default: 600
  have:
    description: For C(collect), size and SHA-256 of the controller's files by path.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: In check mode the units' state is returned and nothing is changed.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Start again what ran before an interrupted benchmark
  benchmark_node:
    action: restore
"""

RETURN = r"""
engines:
  description: Installed services in the shape of C(benchmark_engines), for C(engines).
  type: list
  elements: dict
  returned: for C(engines)
  sample: []
busy:
  description: Progress of a cell that an earlier call is still measuring, for C(prepare).
  type: dict
  returned: when there is one
  sample: {cell_id: small.capital.natural, phase: measure}
missing:
  description: Names of O(files) that are not there, for C(prepare).
  type: list
  elements: str
  returned: for C(prepare)
  sample: [scene.png]
stopped:
  description: Units that were stopped.
  type: list
  elements: str
  returned: for C(stop) and C(restore)
  sample: [mi50-vllm.service]
started:
  description: Units that were started.
  type: list
  elements: str
  returned: for C(start) and C(restore)
  sample: [mi50-llama_cpp.service]
seconds:
  description: Seconds until the server was ready.
  type: float
  returned: for C(start)
  sample: 12.5
pieces:
  description: Parts of files, C(path), C(offset) and C(data) in base64.
  type: list
  elements: dict
  returned: for C(collect)
  sample: []
more:
  description: Whether another call would return more.
  type: bool
  returned: for C(collect)
  sample: false
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process
from ansible.module_utils.mi50.benchrun import look, ready, transfer
from ansible.module_utils.mi50.benchrun.switch import Switch, SwitchError

MARKER = "before.json"
IMAGES = "images"


def main() -> None:
    """Do one action."""
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "choices": ["engines", "prepare", "put", "stop", "start", "restore", "collect"],
                "required": True,
            },
            "dir": {"type": "path", "default": "/var/lib/mi50-aipc/bench"},
            "run_id": {"type": "str", "default": ""},
            "files": {"type": "dict", "default": {}},
            "data": {"type": "dict", "default": {}},
            "units": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str", "default": ""},
            "url": {"type": "str", "default": ""},
            "kind": {"type": "str", "default": "openai"},
            # A path, not a secret.
            "api_key_file": {"type": "path", "default": "", "no_log": False},
            "ca_file": {"type": "path", "default": ""},
            "timeout": {"type": "float", "default": 600},
            "have": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    actions = {
        "engines": engines,
        "prepare": prepare,
        "put": put,
        "stop": stop,
        "start": start,
        "restore": restore,
        "collect": collect,
    }
    try:
        module.exit_json(**actions[module.params["action"]](module))
    except (SwitchError, transfer.TransferError) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or module.params['dir']}: {exc.strerror or exc}")


def engines(module: AnsibleModule) -> dict[str, Any]:
    """Say what is installed."""
    del module
    return {"changed": False, "engines": look.engines(Path(look.INSTALLED))}


def prepare(module: AnsibleModule) -> dict[str, Any]:
    """Make the directory; see whether a cell of an earlier call goes on, and which pictures are missing."""
    folder = Path(module.params["dir"])
    if not module.check_mode:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    missing = [name for name, digest in module.params["files"].items() if _digest(folder / IMAGES / name) != digest]
    # Fails before anything is stopped when a unit does not exist.
    units = _switch(module).look(module.params["units"]) if module.params["units"] else []
    found: dict[str, Any] = {"changed": False, "missing": missing, "up": [unit.name for unit in units if unit.up]}
    busy = look.busy(folder, module.params["run_id"])
    return {**found, "busy": busy} if busy else found


def put(module: AnsibleModule) -> dict[str, Any]:
    """Write pictures."""
    folder = Path(module.params["dir"]) / IMAGES
    for name, data in module.params["data"].items():
        (folder / Path(name).name).write_bytes(base64.b64decode(data))
    return {"changed": True}


def stop(module: AnsibleModule) -> dict[str, Any]:
    """Stop every engine, after remembering what ran."""
    switch = _switch(module)
    if module.check_mode:
        return {"changed": False, "stopped": [unit.name for unit in switch.look(module.params["units"]) if unit.up]}
    stopped = switch.stop_all(module.params["units"], module.params["run_id"])
    return {"changed": bool(stopped), "stopped": stopped}


def start(module: AnsibleModule) -> dict[str, Any]:
    """Start an engine and wait until it answers."""
    given = module.params
    if module.check_mode:
        return {"changed": False, "started": [], "seconds": 0.0}
    switch = _switch(module)
    if given["unit"]:
        switch.start(given["unit"])
    seconds = switch.wait(
        given["unit"],
        lambda: ready.missing(given["url"], given["kind"], given["api_key_file"], given["ca_file"]),
        given["timeout"],
    )
    return {"changed": bool(given["unit"]), "started": [given["unit"]] if given["unit"] else [], "seconds": seconds}


def restore(module: AnsibleModule) -> dict[str, Any]:
    """Start again what ran before."""
    switch = _switch(module)
    if module.check_mode:
        return {"changed": switch.remembered() is not None, "started": [], "stopped": []}
    done = switch.restore()
    return {"changed": bool(done["started"] or done["stopped"]), **done}


def collect(module: AnsibleModule) -> dict[str, Any]:
    """Return what is new in the run's folder."""
    folder = Path(module.params["dir"]) / module.params["run_id"]
    if not folder.is_dir():
        return {"changed": False, "pieces": [], "more": False}
    return {"changed": False, **transfer.pieces(folder, module.params["have"])}


def _switch(module: AnsibleModule) -> Switch:
    return Switch(Path(module.params["dir"]) / MARKER, process_run)


def process_run(argv: list[str], timeout: float) -> process.Finished:
    """Start a program without the controller's proxy or locale mattering."""
    return process.run(argv, timeout=timeout)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


if __name__ == "__main__":
    main()
