# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of a benchmark suite."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_suite
short_description: A benchmark suite, checked, in one language, as the cells that llm_benchmark measures
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Reads C(suites/<name>.yml), checks it against C(suites/schema.json) and its pictures against their checksums.
  - Returns the cells in the shape of the arguments of C(llm_benchmark), and the pictures they need.
options:
  _terms:
    description: Names of suites, or paths of suite files.
    required: true
    type: list
    elements: str
  language:
    description: Language of the prompts.
    type: str
    choices: [zh, en]
    default: zh
  tasks:
    description: Ids of the tasks to keep. Empty means all.
    type: list
    elements: str
    default: []
  kinds:
    description: Kinds of tasks to keep, C(text) or C(image). Empty means both.
    type: list
    elements: str
    default: []
  models:
    description: Keys of the models to keep. Empty means all.
    type: list
    elements: str
    default: []
  modes:
    description: Modes to keep, C(natural) or C(fixed). Empty means both.
    type: list
    elements: str
    default: []
  probes:
    description: Probes to add, C(slope), C(depth) or C(concurrency).
    type: list
    elements: str
    default: []
  image_dir:
    description: Folder on the node that the pictures are copied to. Empty means their place on the controller.
    type: str
    default: ""
  seed:
    description: Number that decides a random order of a model's cells. The suite's order when not given.
    type: int
"""

EXAMPLES = r"""
- name: Show what would be measured
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_suite', 'blog-2025-10', language='en', kinds=['text']).cells | map(attribute='id') }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping per name with C(id), C(title), C(sha256), C(language), C(models) and C(cells).
    - C(images) lists the pictures to copy, C(path) on the controller with C(sha256).
  type: list
  elements: dict
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

from ansible.module_utils.mi50.bench.cells import cells
from ansible.module_utils.mi50.bench.suite import SuiteError, load_suite, select


class LookupModule(LookupBase):
    """`lookup('mi50_suite', name)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one suite per name. Raises AnsibleError with a message for the user."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [self._one(_path(name)) for name in terms]
        except SuiteError as exc:
            raise AnsibleError(str(exc)) from exc

    def _one(self, path: Path) -> dict[str, Any]:
        suite = load_suite(path, str(self.get_option("language")))
        suite = select(suite, self.get_option("tasks"), self.get_option("kinds"))
        found = cells(
            suite,
            models=self.get_option("models"),
            modes=self.get_option("modes"),
            probes=self.get_option("probes"),
            image_dir=self.get_option("image_dir") or None,
            seed=self.get_option("seed"),
        )
        used = {cell["model"] for cell in found}
        # A picture serves several cells and is copied once.
        pictures = {i["sha256"]: i for task in suite["tasks"] if task["model"] in used for i in task["images"]}
        return {
            **{key: suite[key] for key in ("id", "title", "sha256", "language", "models")},
            "images": [{"path": image["path"], "sha256": image["sha256"]} for image in pictures.values()],
            "cells": found,
        }


def _path(name: str) -> Path:
    """A name means a file of suites/, anything with a slash or an ending a path, relative ones from the checkout."""
    if "/" in name or name.endswith((".yml", ".yaml")):
        return _CHECKOUT / Path(name).expanduser()
    return _CHECKOUT / "suites" / f"{name}.yml"
