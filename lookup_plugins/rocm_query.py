# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role rocm asks of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rocm_query
short_description: What the role rocm asks of a node
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns the variables of the role C(rocm) and a stack into options of the module C(rocm_info).
  - Reads the variables itself. As arguments, a template each, they would cost each host of a play time.
options:
  _terms:
    description: Names of stacks.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Ask the node
  rocm_info: "{{ lookup('rocm_query', 'rocm-6.4.3') }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping of options per stack.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.rocm.query import FIXED, SETTINGS, query


class LookupModule(LookupBase):
    """`lookup('rocm_query', stack)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one mapping of options per stack. Raises AnsibleError for a stack that cannot be used."""
        stacks = lookup_loader.get("mi50_stack", loader=self._loader, templar=self._templar)
        given = variables or {}
        settings = {name: self._templar.template(given[f"rocm_{name}"]) for name in SETTINGS}
        fixed = {name: given[f"__rocm_{name}"] for name in FIXED}
        return [query(stack["rocm"], {**settings, **fixed}) for stack in stacks.run(terms, variables)]
