# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role build_once asks of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_builds
short_description: What the role build_once asks of a node
version_added: "0.3.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns the variables of the role C(build_once) and a stack into the question whether a node has its artifacts.
  - Reads the variables itself. As arguments, a template each, they would cost each host of a play time.
options:
  _terms:
    description: Names of stacks.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show what a node is asked
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_builds', 'rocm-6.4.3') }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping per stack, with C(builds), C(dir), C(work_dir) and C(python).
  type: list
  elements: dict
"""

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

from ansible.module_utils.mi50.build.recipe import PATCHES, RecipeError, asked, resolve

_SETTINGS = ("builds", "overrides", "pin", "cache_dir", "work_dir", "python")


class LookupModule(LookupBase):
    """`lookup('mi50_builds', stack)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one question per stack. Raises AnsibleError for a recipe that cannot be used."""
        stacks = lookup_loader.get("mi50_stack", loader=self._loader, templar=self._templar)
        given = variables or {}
        settings = {name: self._templar.template(given[f"build_once_{name}"]) for name in _SETTINGS}
        try:
            return [self._question(stack, settings) for stack in stacks.run(terms, variables)]
        except RecipeError as exc:
            raise AnsibleError(str(exc)) from exc

    def _question(self, stack: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        folder = _CHECKOUT / PATCHES
        recipes = [resolve(stack, name, settings["overrides"].get(name, {}), folder) for name in settings["builds"]]
        return {
            "builds": [asked(one, settings["pin"].get(one.name, "")) for one in recipes],
            "dir": f"{settings['cache_dir']}/builds",
            "work_dir": settings["work_dir"],
            "python": settings["python"],
        }
