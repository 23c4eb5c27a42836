#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module node_record; the logic is in module_utils/mi50/record."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_record
short_description: Remember what a node was before roles worked on it, and give it back
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - C(begin) and C(end) enclose the work of roles. Packages, memberships and groups that come between them are
    recorded as brought by this project, together with the stack of the run.
  - C(give_back) removes them after the roles have removed what is their own. A package that another one needs stays.
  - The record never makes a task changed; giving back does.
options:
  action:
    description: What to do. C(look) only returns the record.
    type: str
    choices: [begin, end, look, give_back]
    required: true
  path:
    description: File of the record.
    type: path
    default: /var/lib/mi50-aipc/record.json
  run:
    description: What the run was of, for C(end). Remembered when it is another than that of the run before.
    type: dict
    default: {}
  keep:
    description: Names of packages that stay, for C(give_back).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Writes no record and says what would be given back.
    support: full
  diff_mode:
    description: Lists what goes.
    support: full
  platform:
    description: Systems it runs on.
    platforms: debian
    support: full
seealso:
  - module: rocm_info
"""

EXAMPLES = r"""
- name: Remember what the node is
  node_record:
    action: begin

- name: Remember what came
  node_record:
    action: end
    run: {stack: rocm-6.4.3, engines: [vllm]}

- name: Give it back
  node_record:
    action: give_back
    keep: [git]
"""

RETURN = r"""
known:
  description: Whether there is a record.
  returned: always
  type: bool
  sample: true
runs:
  description: Runs with different contents, the newest last.
  returned: always
  type: list
  elements: dict
  sample: [{stack: rocm-6.4.3, engines: [], at: 1764000000}]
purged:
  description: Packages that were (in check mode, would be) removed.
  returned: for C(give_back)
  type: list
  elements: str
  sample: [python3-venv]
stay:
  description: Packages that came with this project and stay, with the reason.
  returned: for C(give_back)
  type: dict
  sample: {git: mi50_keep_packages names it}
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.record import give_back, ledger, look, store


def main() -> None:
    """Read the parameters, act, return."""
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["begin", "end", "look", "give_back"], "required": True},
            "path": {"type": "path", "default": "/var/lib/mi50-aipc/record.json"},
            "run": {"type": "dict", "default": {}},
            "keep": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    action, path = module.params["action"], Path(module.params["path"])
    try:
        record = store.read(path)
        known = record is not None
        now = record or ledger.new()
        if action == "give_back" and known:
            module.exit_json(**_give_back(module, now, path))
        if action in ("begin", "end") and not module.check_mode:
            seen = look.look()
            run = {**module.params["run"], "at": int(time.time())} if module.params["run"] else None
            after = ledger.begin(now, seen) if action == "begin" else ledger.end(now, seen, run)
            if after != now:
                store.write(path, after)
            now, known = after, True
    except (give_back.GiveBackError, store.RecordError, OSError) as error:
        module.fail_json(msg=f"{path}: {error}")
    more: dict[str, Any] = {"purged": [], "stay": {}} if action == "give_back" else {}
    module.exit_json(changed=False, known=known, runs=now["runs"], **more)


def _give_back(module: AnsibleModule, record: ledger.Record, path: Path) -> dict[str, Any]:
    def run(words: list[str]) -> tuple[int, str]:
        environment = {"LANGUAGE": "C", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        code, out, err = module.run_command(
            [module.get_bin_path(words[0], required=True), *words[1:]], environ_update=environment
        )
        return code, f"{out}\n{err}"

    plan = give_back.plan(record, module.params["keep"], run)
    if not module.check_mode:
        give_back.apply(plan, run)
        path.unlink()
        give_back.sweep(record)
    lines = [f"package {name}" for name in plan.purge]
    lines += [f"{user} in group {group}" for group, user in plan.members]
    lines += [f"group {name}" for name in plan.groups]
    return {
        "changed": True,
        "known": True,
        "runs": record["runs"],
        "purged": plan.purge,
        "stay": plan.stay,
        "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""},
    }


if __name__ == "__main__":
    main()
