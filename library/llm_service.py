#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module llm_service; the logic is in module_utils/mi50/serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_service
short_description: A language model server that has shown that it answers on the GPU
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Makes one engine of a node serve one model as a systemd unit, C(mi50-<name>.service), under a user of its own.
  - Everything that can be known to be wrong is told at once, before anything changes.
  - A changed service counts as ready when it has answered one completion, from the card that was chosen. When it does
    not, the version that answered last is put back and serves again, and the module fails with the reason.
  - A timer, C(mi50-<name>-health.timer), looks from then on and starts a service anew that hangs, lost its model or
    fell to the CPU.
  - The API key is made on the node, once, and is neither returned nor logged.
options:
  name:
    description: The engine, by the name of its role.
    type: str
    required: true
  state:
    description:
      - V(present) serves; V(absent) removes everything but models.
      - V(proven) changes nothing and asks the running service for one completion, with the same judgement.
    type: str
    choices: [absent, present, proven]
    default: present
  options:
    description: Options of the engine, see the variables of its role.
    type: dict
    default: {}
  user:
    description: User that the service runs as, made when missing. Empty means C(mi50-<name>).
    type: str
    default: ""
  bind:
    description: Address that it listens on.
    type: str
    default: 127.0.0.1
  port:
    description: Port that it listens on.
    type: int
    default: 8080
  api_key:
    description: The API key. One is generated, once, when it is empty.
    type: str
    default: ""
  api_key_file:
    description: File with the key on the node, readable for root alone. Empty for an engine that knows no key.
    type: path
    required: true
  gpus:
    description: PCI addresses of the cards. Empty means every gfx906 card, V(none) alone a computer without any.
    type: list
    elements: str
    default: []
  min_tokens_per_second:
    description: Floor of the speed of the completion that proves it. 0 means none.
    type: float
    default: 0
  allow_software:
    description: Whether it may compute without a GPU.
    type: bool
    default: false
  allow_small_bar:
    description: Whether Vulkan may offer only a part of a card.
    type: bool
    default: false
  load_timeout:
    description: Seconds from the start to the first answer.
    type: float
    default: 900
  answer_timeout:
    description: Seconds for one completion.
    type: float
    default: 120
  health_interval:
    description: Seconds between two looks of the timer.
    type: int
    default: 30
  health_timeout:
    description: Seconds within which a server that is alive answers the timer's cheap question.
    type: float
    default: 10
  health_completion_every:
    description: Seconds after which an idle service is asked for a completion. 0 means never.
    type: int
    default: 600
  asked:
    description: Digest of all that is asked for, which the question of the preflight compares. Empty means made here.
    type: str
    default: ""
  plan_only:
    description: Say what there is to do, and do nothing.
    type: bool
    default: false
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
  dev_root:
    description: Where the device files are.
    type: path
    default: /dev
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
notes:
  - As a task it runs through an action plugin that shows how far a model is loaded, through breaks of the connection.
"""

EXAMPLES = r"""
- name: Serve a model with llama.cpp
  llm_service:
    name: llama_cpp
    port: 8080
    api_key_file: /etc/mi50-aipc/keys/llama_cpp
    gpus: ["0000:03:00.0"]
    options:
      model: /var/lib/mi50-aipc/models/gemma-3-27b-it-q4_0.gguf
      context: 32768
      archive: /var/cache/mi50-aipc/llama-b11211-bin-ubuntu-vulkan-x64.tar.gz
      version: b11211
"""

RETURN = r"""
reasons:
  description: What was (in check mode, would be) done, and why.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/mi50-llama_cpp.service changes]
restart:
  description: Whether the server was (would be) started anew for it.
  returned: success
  type: bool
  sample: true
proof:
  description: How the service showed that it answers, when it was asked in this call.
  returned: success
  type: dict
  sample: {seconds: 31.5, tokens: 32, tokens_per_second: 22.4, vram_before: 18874368, vram_after: 17841127424}
status:
  description: Unit, last look of the health program, last proof.
  returned: success
  type: dict
  sample: {name: llama_cpp, state: ready}
"""

import contextlib
import fcntl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.mi50 import process
from ansible.module_utils.mi50.serve import key, service
from ansible.module_utils.mi50.serve.engines import ENGINES
from ansible.module_utils.mi50.serve.model import RUN_DIR, Node, Proof, ServeError
from ansible.module_utils.mi50.serve.spec import SPEC


def _node(params: dict[str, Any], *, loud: bool) -> Node:
    """The machine this runs on; what it says goes to a file that the action plugin reads meanwhile."""
    progress = Path(RUN_DIR) / f"{params['name']}.progress"
    if loud:
        progress.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        progress.write_text("", encoding="utf-8")

    def say(text: str) -> None:
        if loud:
            with progress.open("a", encoding="utf-8") as stream:
                stream.write(f"{text}\n")

    roots = {name: Path(params[f"{name}_root"]) for name in ("sysfs", "proc", "dev")}
    return Node(run=process.run, clock=time.monotonic, sleep=time.sleep, say=say, **roots)


def _options(module: AnsibleModule) -> None:
    """Make `options` valid by the engine's own spec; end the module for others."""
    name = module.params["name"]
    if name not in ENGINES:
        module.fail_json(msg=f"there is no engine {name!r}; known: {', '.join(sorted(ENGINES))}")
    given = {key: value for key, value in module.params["options"].items() if value is not None}
    checked = ArgumentSpecValidator(ENGINES[name].SPEC).validate(given)
    if checked.error_messages:
        module.fail_json(msg=f"{name}: {'; '.join(checked.error_messages)}")
    module.params["options"] = checked.validated_parameters


def _hidden(text: str, params: dict[str, Any]) -> str:
    """Text without the key, should a program have said it."""
    secrets = [params["api_key"]]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        secrets.append(key.read(Path(params["api_key_file"])))
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _serve(module: AnsibleModule, node: Node) -> dict[str, Any]:
    name = module.params["name"]
    todo = service.plan(module.params, node, check=module.check_mode)
    if todo is None:
        later = "what it needs is not there yet (groups, drivers or the model, which other roles bring)"
        return {"changed": True, "reasons": [later], "restart": True, "proof": {}, "status": service.status(name, node)}
    for warning in todo.warnings:
        module.warn(f"{name}: {warning}")
    result: dict[str, Any] = {
        "changed": bool(todo.reasons),
        "reasons": todo.reasons,
        "restart": todo.restart,
        "proof": {},
    }
    if module.params["state"] == "proven":
        result.update(changed=False, proof=_told(service.prove(todo, node)))
    elif todo.reasons and not module.check_mode and not module.params["plan_only"]:
        result["proof"] = _told(service.apply(todo, node))
    return {**result, "diff": service.diff(todo), "status": service.status(name, node)}


def _remove(module: AnsibleModule, node: Node) -> dict[str, Any]:
    there = service.installed(module.params, node)
    gone = service.remove(module.params, node) if there and not module.check_mode else []
    return {
        "changed": there,
        "reasons": [f"{path} is removed" for path in gone],
        "restart": False,
        "proof": {},
        "status": {},
    }


def _told(proof: Proof) -> dict[str, Any]:
    return {**proof._asdict(), "devices": [device._asdict() for device in proof.devices]}


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One run at a time works on a service. Raises BlockingIOError."""
    with (Path(RUN_DIR) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    name, absent = module.params["name"], module.params["state"] == "absent"
    if not absent:
        _options(module)
    acts = not module.check_mode and not module.params["plan_only"]
    try:
        node = _node(module.params, loud=acts)
        with _alone(name) if acts else contextlib.nullcontext():
            result = _remove(module, node) if absent else _serve(module, node)
    except BlockingIOError:
        module.fail_json(msg=f"{name}: another run works on this service; wait for it")
    except ServeError as error:
        module.fail_json(msg=_hidden(str(error), module.params))
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=_hidden(f"{name}: {error}", module.params))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
