# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role pytorch does with its settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: torch_env
short_description: Options of the module torch_env, settings of the role pytorch completed from a stack
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns the variables of the role C(pytorch) and a stack into options of the module C(torch_env).
  - Reads the variables itself. As arguments, a template each, they would cost each host of a play time.
options:
  _terms:
    description: Names of stacks.
    required: true
    type: list
    elements: str
  contents:
    description: Whether the files of the compute proof carry their contents beside their digests.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show which torch is wanted
  ansible.builtin.debug:
    msg: "{{ lookup('torch_env', 'rocm-6.4.3').options.torch }}"
"""

RETURN = r"""
_raw:
  description: One mapping per stack with C(options) of the module and C(patched), whether rocBLAS needs gfx906 kernels.
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

from ansible.module_utils.mi50.torchenv.settings import SETTINGS, files, plan

# One play looks the same files up for every host.
_FILES: dict[bool, list[dict[str, str]]] = {}


class LookupModule(LookupBase):
    """`lookup('torch_env', stack)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one plan per stack. Raises AnsibleError for a stack that cannot be used."""
        self.set_options(var_options=variables, direct=kwargs)
        contents = bool(self.get_option("contents"))
        if contents not in _FILES:
            _FILES[contents] = files(_CHECKOUT, contents=contents)
        stacks = lookup_loader.get("mi50_stack", loader=self._loader, templar=self._templar)
        given = variables or {}
        settings = {name: self._templar.template(given[f"pytorch_{name}"]) for name in SETTINGS}
        plans = [plan(stack, settings, _FILES[contents]) for stack in stacks.run(terms, variables)]
        return plans
