# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role of an engine does with its settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_service
short_description: The service of an engine, settings completed from a stack
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns the variables of an engine's role and a stack into options of the module C(llm_service) and into what the
    preflight asks of a node.
  - Reads the variables itself. As arguments, a template each, they would cost each host of a play time.
options:
  _terms:
    description: Names of roles, such as C(llama_cpp).
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show what is asked of the node
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_service', 'llama_cpp').service }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping per role with C(service) (options of C(llm_service), without the key), C(question) (for the
      preflight), C(files) for C(artifact_fetch) and C(problem).
  type: list
  elements: dict
"""

import json
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.serve.engines import ENGINES
from ansible.module_utils.mi50.serve.origin import COMMON, FILLED, plan

# Where a role's program comes from; a role without such a variable has no such choice.
_SOURCE = ("url", "version", "checksum", "archive", "cache_dir")


class LookupModule(LookupBase):
    """`lookup('mi50_service', role)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one plan per role. Raises AnsibleError for a role without an engine or a stack that cannot be used."""
        self._given = variables or {}
        return [self._plan(role) for role in terms]

    def _plan(self, role: str) -> dict[str, Any]:
        if role not in ENGINES:
            raise AnsibleError(f"mi50_service: there is no engine {role!r}; known: {', '.join(sorted(ENGINES))}")
        options = {name: self._value(role, name) for name in ENGINES[role].SPEC if name not in FILLED}
        source = {name: self._value(role, name) for name in _SOURCE}
        name = self._value(role, "artifact") if "archive" in ENGINES[role].SPEC else ""
        if name:
            stacks = lookup_loader.get("mi50_stack", loader=self._loader, templar=self._templar)
            source["artifact"] = stacks.run([self._value(role, "stack")], self._given)[0]["artifacts"].get(name)
        # Without a program of the node's own, a release is taken.
        own = options.get("server") or options.get("root") or options.get("container")
        source["release"] = "archive" in ENGINES[role].SPEC and not own
        settings = {name: value for name in COMMON if (value := self._value(role, name)) is not None}
        # Plain data: the template engine's own types are no JSON.
        plain = json.loads(
            json.dumps([settings, {k: v for k, v in options.items() if v is not None}, source], default=str)
        )
        return plan(role, *plain, api_key=str(self._value(role, "api_key") or ""))

    def _value(self, role: str, name: str) -> Any:  # noqa: ANN401 - whatever the variable holds
        if f"{role}_{name}" not in self._given:
            return None
        return self._templar.template(self._given[f"{role}_{name}"])
