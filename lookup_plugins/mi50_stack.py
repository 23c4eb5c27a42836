# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of a stack file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_stack
short_description: A stack, validated, locked and with its addresses resolved
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Reads C(stacks/<name>.yml), checks it against C(stacks/schema.json) and merges the lock file.
  - Puts C(url) beside every C(base) and C(path).
  - A base URL is the inventory variable of that name when it is set, the stack's own value otherwise.
  - Check values never depend on it.
options:
  _terms:
    description: Names of stacks.
    required: true
    type: list
    elements: str
  stacks_dir:
    description: Folder of the stack files. Empty means C(stacks/) of the checkout.
    type: str
    default: ""
    vars:
      - name: mi50_stacks_dir
  lock_file:
    description:
      - Lock file. Empty means C(<name>.lock.yml) in the folder of the stack files.
      - Relative paths count from the checkout.
    type: str
    default: ""
    vars:
      - name: mi50_stack_lock_file
"""

EXAMPLES = r"""
- name: Show where the ROCm key comes from
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_stack', mi50_stack | default('rocm-6.4.3')).rocm.key.url }}"
"""

RETURN = r"""
_raw:
  description:
    - One mapping per name, in the shape of the stack file; C(artifacts) is a mapping by name.
    - C(unlocked) names the artifacts without a check value, C(lock_file) the lock file in use.
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

from ansible.module_utils.mi50.stack.api import get_stack
from ansible.module_utils.mi50.stack.load import StackError, load_stack

# One task reads a stack many times over. Ansible copies what it changes.
_BASES: dict[tuple[Any, ...], list[str]] = {}
_READ: dict[tuple[Any, ...], dict[str, Any]] = {}
# The variables that were asked last, and the answers: the questions about one host name the same stack six times,
# and each time Ansible would compile the template of every base URL anew.
_LAST: list[Any] = [None, {}]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class LookupModule(LookupBase):
    """`lookup('mi50_stack', name)`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[dict[str, Any]]:
        """Return one resolved stack per name. Raises AnsibleError with a message for the user."""
        if variables is None or kwargs:
            return self._all(terms, variables, kwargs)
        if _LAST[0] is not variables:
            _LAST[:] = [variables, {}]
        known: dict[str, dict[str, Any]] = _LAST[1]
        for name in terms:
            if name not in known:
                known[name] = self._all([name], variables, kwargs)[0]
        return [known[name] for name in terms]

    def _all(self, terms: list[str], variables: dict[str, Any] | None, given: dict[str, Any]) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=given)
        lock = self._option("lock_file")
        stacks_dir, lock_file = _CHECKOUT / (self._option("stacks_dir") or "stacks"), _CHECKOUT / lock if lock else None
        try:
            return [self._one(name, stacks_dir, lock_file, variables or {}) for name in terms]
        except StackError as exc:
            raise AnsibleError(str(exc)) from exc

    def _option(self, name: str) -> str:
        # A value from a variable arrives as it was written, template and all.
        return str(self._templar.template(self.get_option(name)) or "")

    def _one(self, name: str, stacks_dir: Path, lock_file: Path | None, variables: dict[str, Any]) -> dict[str, Any]:
        files = stacks_dir / f"{name}.yml", lock_file or stacks_dir / f"{name}.lock.yml"
        known = (name, *files, *map(_stamp, files))
        if known not in _BASES:
            _BASES[known] = [*load_stack(name, stacks_dir)["bases"]]
        overrides = {
            base: self._templar.template(variables[base]) for base in _BASES[known] if variables.get(base) is not None
        }
        key = (*known, *sorted(overrides.items()))
        if key not in _READ:
            _READ[key] = get_stack(name, stacks_dir, lock_file, overrides)
        return _READ[key]
