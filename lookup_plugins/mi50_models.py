# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of models in the catalogue."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_models
short_description: Models by name, as the catalogue and its lock know them
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Turns names into what M(model) takes, from C(stacks/models/catalog.yml) and its lock; mappings may change some of a
    known model's values, such as where it comes from, or describe a model of their own.
  - Checks every entry. Each result has its C(identity), by which a node knows whether it has the model.
options:
  _terms:
    description: Lists of models.
    required: true
    type: list
    elements: list
  names:
    description: Return name and identity alone, which is all a question to a node needs.
    type: bool
    default: false
  folder:
    description: Folder of the catalogue. Empty means C(stacks/models) of the checkout.
    type: str
    default: ""
    vars:
      - name: mi50_models_catalog_dir
"""

EXAMPLES = r"""
- name: Show where a model comes from
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_models', ['gemma3-27b-it-qat'])[0].repo }}"
"""

RETURN = r"""
_raw:
  description: One list for each term.
  type: list
  elements: list
"""

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.models.catalog import load, resolve
from ansible.module_utils.mi50.models.errors import ModelError


class LookupModule(LookupBase):
    """`lookup('mi50_models', list)`."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: object) -> list[list[Any]]:
        """Return the models of each list. Raises AnsibleError with a message for the user."""
        self.set_options(var_options=variables, direct=kwargs)
        if not any(terms):
            return [[] for dummy in terms]
        folder = _CHECKOUT / (str(self._templar.template(self.get_option("folder")) or "") or "stacks/models")
        try:
            found = [resolve(term, load(folder), "models_list") for term in terms]
        except ModelError as error:
            raise AnsibleError(str(error)) from error
        if self.get_option("names"):
            return [[{key: one[key] for key in ("name", "identity")} for one in models] for models in found]
        return [[{key: value for key, value in one.items() if key != "identity"} for one in models] for models in found]
