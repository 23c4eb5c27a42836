# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of the engines that the inventory puts behind a gateway."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_gateway
short_description: The engines behind a gateway, and what is wrong with them
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Reads what the nodes of the inventory are to serve, without contacting any of them.
options:
  _terms:
    description: Names of gateways in the inventory.
    required: true
    type: list
    elements: str
  node:
    description: Only this node of C(mi50_nodes).
    type: str
"""

EXAMPLES = r"""
- name: Show what is behind the gateway
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_gateway', 'gateway1').backends }}"
"""

RETURN = r"""
_raw:
  description: One mapping per gateway with C(backends) (for the module C(gateway)) and C(problems), a sentence each.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.gateway.derive import ENGINES, OPTIONS, Asked, Host, derive
from ansible.module_utils.mi50.stack.load import read_yaml

_PORTS = ("gateway_port", "gateway_metrics_port")


class LookupModule(LookupBase):
    """`lookup('mi50_gateway', gateway)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: str) -> list[dict[str, Any]]:
        """Return what is behind each gateway. Raises StackError when a role's defaults cannot be read."""
        given = variables or {}
        self._hostvars = given["hostvars"]
        self._defaults = {role: read_yaml(_CHECKOUT / f"roles/{role}/defaults/main.yml") for role in ENGINES}
        self._own = read_yaml(_CHECKOUT / "roles/gateway/defaults/main.yml")
        names = given.get("groups", {}).get("mi50_nodes", [])
        wanted = [name for name in names if kwargs.get("node") in (None, name)]
        hosts = [self._host(str(name)) for name in wanted]
        return [self._gateway(str(term), hosts) for term in terms]

    def _gateway(self, name: str, hosts: list[Host]) -> dict[str, Any]:
        own, broken = self._values(name, ("gateway_backends", "gateway_models", *_PORTS))
        found = {
            key: self._own[key] if own.get(key) is None else own[key] for key in self._own if key in (*own, *_PORTS)
        }
        asked = Asked(
            [dict(one) if isinstance(one, dict) else one for one in found.get("gateway_backends", [])],
            [str(one) for one in found.get("gateway_models", [])],
            {key: int(found[key]) for key in _PORTS},
        )
        backends, problems = derive(name, hosts, asked)
        return {"backends": backends, "problems": broken + problems}

    def _host(self, name: str) -> Host:
        names = ["mi50_engines", "ansible_host", "gateway_address"]
        names += [f"{role}_{option}" for role in ENGINES for option in ("enabled", "state")]
        given, broken = self._values(name, names)
        engines = {}
        for role in ENGINES:
            named = role in (given.get("mi50_engines") or [])
            on = boolean(given.get(f"{role}_enabled", named), strict=False)
            if on and given.get(f"{role}_state", "present") == "present":
                found, wrong = self._values(name, [f"{role}_{option}" for option in OPTIONS])
                defaults = {option: self._defaults[role].get(f"{role}_{option}") for option in OPTIONS}
                # A name that is given makes the model's path unimportant.
                unread = [
                    text for text in wrong if not (f"{role}_alias" in found and text.startswith(f"{role}_model "))
                ]
                broken += unread
                engines[role] = {**defaults, **{key[len(role) + 1 :]: value for key, value in found.items()}}
        address = str(given.get("ansible_host") or name)
        return Host(name, address, engines, str(given.get("gateway_address") or ""), tuple(broken))

    def _values(self, host: str, names: Any) -> tuple[dict[str, Any], list[str]]:  # noqa: ANN401 - any iterable
        """Variables of a host that somebody has set, evaluated, and what could not be."""
        variables, found, broken = self._hostvars[host], {}, []
        for name in names:
            try:
                if name in variables:
                    found[name] = variables[name]
            except AnsibleError as error:
                broken.append(f"{name} cannot be evaluated outside of its own play: {' '.join(str(error).split())}")
        return found, broken
