#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module gateway; the logic is in module_utils/mi50/gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: One OpenAI endpoint before the engines of many nodes
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Makes HAProxy of the distribution serve as C(mi50-gateway.service), under a user of its own.
  - Everything that can be known to be wrong is told at once, before anything changes; HAProxy reads a new configuration
    beside the one that serves, and takes it over by a reload that cuts no stream.
  - Drains nodes and takes them back, through HAProxy's own socket.
options:
  state:
    description:
      - V(present) serves; V(absent) removes everything but packages.
      - V(drained) sends O(node) nothing new and waits until its streams have ended; V(ready) takes it back once its
        engines are found ready. Both do nothing where there is no gateway yet, or it does not know the node.
    type: str
    choices: [absent, drained, present, ready]
    default: present
  backends:
    description: The engines, as C(lookup('mi50_gateway', host)) derives them from the inventory.
    type: list
    elements: dict
    default: []
  node:
    description: The node to drain or take back, by its name in the inventory.
    type: str
    default: ""
  last:
    description: Drain a node even if no other that serves one of its models is up.
    type: bool
    default: false
  seconds:
    description: How long one call waits for a node. The action plugin asks again, and shows how far it is.
    type: float
    default: 10
  optional:
    description: Whether a gateway that cannot be asked of a node is an answer, and no failure.
    type: bool
    default: false
  sealed:
    description: Keys of engines, by their name, encrypted for this host by M(key_seal).
    type: dict
    default: {}
  without_keys:
    description: Go on although keys of engines are lacking. They get no requests.
    type: bool
    default: false
  bind:
    description: Address that it listens on.
    type: str
    default: 127.0.0.1
  port:
    description: Port that it listens on.
    type: int
    default: 8800
  metrics_bind:
    description: Address of the metrics for Prometheus.
    type: str
    default: 127.0.0.1
  metrics_port:
    description: Port of the metrics for Prometheus.
    type: int
    default: 8405
  certificate:
    description: PEM file on the host with the certificate and its chain. Empty means plain HTTP.
    type: path
    default: ""
  certificate_key:
    description: PEM file on the host with the certificate's key.
    type: path
    default: ""
  clients:
    description: Names of those who get a key. A name that is not here any more has its key withdrawn.
    type: list
    elements: str
    default: [default]
  api_keys:
    description: Keys by name of the client. One is generated, once, for a client without.
    type: dict
    default: {}
  max_body:
    description: Greatest request in bytes.
    type: int
    default: 1048576
  max_connections:
    description: Connections of clients at a time.
    type: int
    default: 512
  timeout:
    description: Seconds without a byte after which a stream counts as dead.
    type: int
    default: 3600
  queue_timeout:
    description: Seconds that a request waits for a node.
    type: int
    default: 600
  check_interval:
    description: Seconds between two looks at an engine.
    type: int
    default: 2
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
    platforms: debian
seealso:
  - module: key_seal
"""

EXAMPLES = r"""
- name: Serve what the inventory's nodes serve
  gateway:
    bind: 192.0.2.10
    backends: "{{ lookup('mi50_gateway', inventory_hostname).backends }}"

- name: Send a node nothing new
  gateway:
    state: drained
    node: node3
  delegate_to: gateway1
"""

RETURN = r"""
missing:
  description: Packages to install first; nothing else was done then.
  returned: success
  type: list
  elements: str
  sample: [haproxy]
reasons:
  description: What was (in check mode, would be) done.
  returned: success
  type: list
  elements: str
  sample: [/etc/mi50-aipc/gateway/haproxy.cfg changes]
wanted:
  description: Engines whose key has to be fetched first; nothing else was done then.
  returned: success
  type: list
  elements: str
  sample: [node1-llama_cpp]
public_key:
  description: What a node seals its key with, PEM, where one is to be sealed. Empty while there is none.
  returned: success
  type: str
  sample: ""
servers:
  description: The engines as HAProxy sees them, or those of the node.
  returned: success
  type: dict
  sample: {node1-llama_cpp: UP}
sessions:
  description: Streams that are still with the node, for V(drained).
  returned: success
  type: int
  sample: 0
node_state:
  description: Whether the node V(serves) or is V(drained) now; V(silent) by O(optional). Empty where it is not known.
  returned: success
  type: str
  sample: serves
waiting:
  description: Engines of the node that are not ready yet, and why, for V(ready).
  returned: success
  type: list
  elements: str
  sample: ["node1-llama_cpp: down L4CON Connection refused"]
"""

import contextlib
import fcntl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50 import process, seal
from ansible.module_utils.mi50.gateway import admin, drain, service, spec, switch
from ansible.module_utils.mi50.gateway.model import LOCK, MASTER, PAIR, GatewayError
from ansible.module_utils.mi50.serve.model import Node, ServeError

_NOTHING: dict[str, Any] = {"changed": False, "missing": [], "reasons": [], "wanted": [], "public_key": "",
                            "servers": {}, "sessions": 0, "node_state": "", "waiting": []}  # fmt: skip


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One call at a time changes the gateway: nodes are drained side by side."""
    path = Path(LOCK)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _present(module: AnsibleModule, node: Node) -> dict[str, Any]:
    wrong = spec.problems(module.params)
    if wrong:
        raise GatewayError(f"gateway: {'; '.join(wrong)}. Nothing was changed.")
    sealed = module.params["sealed"]
    todo = service.plan(spec.settings(module.params), spec.engines(module.params), sealed, node)
    if module.params["without_keys"]:
        for name in todo.wanted:
            module.warn(f"gateway: the key of {name} could not be fetched: it gets no requests until the next run")
    for warning in todo.warnings:
        module.warn(f"gateway: {warning}")
    found: dict[str, Any] = {"missing": todo.missing, "wanted": todo.wanted}
    if not module.check_mode and not todo.missing:
        if todo.wanted and not module.params["without_keys"]:
            return {**_NOTHING, **found, "public_key": seal.public(node.path(PAIR), node.run)}
        service.apply(todo, node)
        ask, wait = admin.asker(node.path(MASTER)), drain.Time(8.0 if todo.reasons else 0.0, node.clock, node.sleep)
        found["servers"] = drain.engines(ask, wait)
        for name in drain.out(ask, service.nodes(node)):
            module.warn(f"gateway: {name} is drained. When nobody works on it: playbooks/ready.yml --limit {name}")
    found.update(changed=bool(todo.reasons) and (module.check_mode or not todo.missing))
    return {**_NOTHING, **found, "reasons": todo.reasons, "diff": service.diff(todo)}


def _node(module: AnsibleModule, node: Node) -> dict[str, Any]:
    """Drain the node, or take it back."""
    drained, name, check = module.params["state"] == "drained", module.params["node"], module.check_mode
    names = service.of_node(name, node) if node.path(MASTER).exists() else []
    if not names:
        return {**_NOTHING, "reasons": []}
    with _alone() if not check else contextlib.nullcontext():
        renewed = service.renew(module.params["sealed"], node) if not drained and not check else []
    ask = admin.asker(node.path(MASTER))
    wait = drain.Time(module.params["seconds"], node.clock, node.sleep)
    if drained:
        lock = contextlib.nullcontext if check else _alone
        seen = drain.drained(ask, names, wait, check=check, last_too=module.params["last"], alone=lock)
    else:
        seen = drain.ready(ask, names, wait, check=check)
    if not check and seen.changed:
        with _alone():
            switch.remember(node)
    if seen.last:
        models = ", ".join(one[len(admin.MODELS) :] for one in seen.last)
        module.warn(f"{name} was the last that serves {models}: requests for it wait, or get 503, until it is back")
    reasons = [f"the key of {one} is another now" for one in renewed]
    if seen.changed and not seen.waiting:
        reasons.append(f"{name} {'gets nothing new' if drained else 'serves again'}")
    return {
        **_NOTHING,
        "changed": bool(reasons),
        "reasons": reasons,
        "public_key": seal.public(node.path(PAIR), node.run) if drained and node.path(PAIR).exists() else "",
        "sessions": seen.sessions,
        "node_state": drain.state(seen, wanted=module.params["state"], check=check),
        "waiting": seen.waiting,
        "servers": {one: "" for one in names},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=spec.SPEC,
        supports_check_mode=True,
        required_if=[("state", "drained", ["node"]), ("state", "ready", ["node"])],
    )
    node = Node(run=process.run, clock=time.monotonic, sleep=time.sleep)
    state = module.params["state"]
    try:
        if state in ("drained", "ready"):
            result = _node(module, node)
        elif state == "absent":
            gone = service.remove(node, check=module.check_mode)
            result = {**_NOTHING, "changed": bool(gone), "reasons": [f"{path} is removed" for path in gone]}
        else:
            with _alone() if not module.check_mode else contextlib.nullcontext():
                result = _present(module, node)
    except (GatewayError, ServeError, seal.SealError) as error:
        module.fail_json(msg=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"gateway: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
