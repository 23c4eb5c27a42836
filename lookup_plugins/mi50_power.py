# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the role gpu_power installs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_power
short_description: Files of the role gpu_power with their digests
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Lists the files that every node of the role C(gpu_power) has, so that a node can be compared without sending them.
options:
  _terms:
    description: Where sysfs is mounted on the node.
    required: true
    type: list
    elements: str
  contents:
    description: Whether the files carry their contents instead of digests.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be installed
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_power', '/sys') | map(attribute='path') }}"
"""

RETURN = r"""
_raw:
  description: One list per term, of files with C(path), C(mode) and C(sha256), or C(content) when asked for.
  type: list
  elements: list
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

_SHIPPED = Path(__file__).resolve().parent.parent / "roles" / "gpu_power" / "files"


def files(sysfs_root: str) -> list[dict[str, str]]:
    """The script, its unit, and what the unit reads."""
    script, unit = "mi50-gpu-power", "mi50-gpu-power.service"
    return [
        {"path": f"/usr/local/sbin/{script}", "mode": "0755", "content": (_SHIPPED / script).read_text("utf-8")},
        {"path": f"/etc/systemd/system/{unit}", "mode": "0644", "content": (_SHIPPED / unit).read_text("utf-8")},
        {"path": "/etc/mi50-aipc/gpu-power.env", "mode": "0644", "content": f"MI50_SYSFS_ROOT={sysfs_root}\n"},
    ]


def digested(file: dict[str, str]) -> dict[str, str]:
    """A file with the digest of its content instead of it."""
    return {
        "path": file["path"],
        "mode": file["mode"],
        "sha256": sha256(file["content"].encode()).hexdigest(),
    }


class LookupModule(LookupBase):
    """`lookup('mi50_power', '/sys')`."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object
    ) -> list[list[dict[str, str]]]:
        """Return one list per term."""
        self.set_options(var_options=variables, direct=kwargs)
        contents = bool(self.get_option("contents"))
        return [[file if contents else digested(file) for file in files(str(term))] for term in terms]
