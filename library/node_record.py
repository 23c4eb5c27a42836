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
  - C(leave) is the beginning of taking everything back. C(give_back) is its end, after the roles have removed what is
    their own - a package that another one needs stays.
  - C(begin) and C(leave) also note that a run is at work; C(release) and C(give_back) take that note away, and
    C(release) the claim of M(preflight_host) as well. Where they find the note of a run that was cut off while apt
    worked for it, they wait for apt or finish what it was in the middle of, with C(dpkg --configure -a) and, where
    packages are missing that were part of it, C(apt-get -f install). Packages that somebody else left in that state
    are refused.
  - The record never makes a task changed; giving back and finishing do.
options:
  action:
    description: What to do. C(look) only returns the record.
    type: str
    choices: [begin, end, look, leave, release, give_back]
    required: true
  path:
    description: File of the record. The note that a run is at work lies beside it.
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
    description: Writes nothing and says what would be finished or given back.
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

- name: Let other runs come
  node_record:
    action: release

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
mended:
  description: What was (in check mode, would be) done about packages that a run before had left half installed.
  returned: for C(begin) and C(leave)
  type: list
  elements: str
  sample: ["dpkg --configure -a finished what was cut off: apt-get install rocm of 2026-11-23 09:12"]
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
from ansible.module_utils.mi50.apt import mend
from ansible.module_utils.mi50.preflight import claim
from ansible.module_utils.mi50.record import give_back, journal, ledger, look, store


def main() -> None:
    """Read the parameters, act, return."""
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "choices": ["begin", "end", "look", "leave", "release", "give_back"],
                "required": True,
            },
            "path": {"type": "path", "default": "/var/lib/mi50-aipc/record.json"},
            "run": {"type": "dict", "default": {}},
            "keep": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        module.exit_json(**_act(module, module.params["action"], path))
    except mend.MendError as error:
        module.fail_json(msg=str(error))
    except (give_back.GiveBackError, store.RecordError, OSError) as error:
        module.fail_json(msg=f"{path}: {error}")


def _act(module: AnsibleModule, action: str, path: Path) -> dict[str, Any]:
    note = journal.beside(path)
    record = store.read(path)
    if action == "give_back":
        return _give_back(module, record, path)
    result: dict[str, Any] = {"changed": False}
    if action in ("begin", "leave"):
        result = _mended(module, note)
    if not module.check_mode:
        record = _write(module, action, record, path)
    return {**result, "known": record is not None, "runs": (record or ledger.new())["runs"]}


def _write(module: AnsibleModule, action: str, record: ledger.Record | None, path: Path) -> ledger.Record | None:
    """Write what an action is to remember, or take it away; return the record."""
    note = journal.beside(path)
    if action == "release":
        journal.end(note)
        (Path("/") / claim.CLAIM).unlink(missing_ok=True)
    if action == "leave":
        journal.begin(note, time.time())
    if action not in ("begin", "end"):
        return record
    now = record or ledger.new()
    # Before anything is written: the folder of the record itself is one of those that may not have been there.
    seen = look.look()
    if action == "begin":
        journal.begin(note, time.time())
    run = {**module.params["run"], "at": int(time.time())} if module.params["run"] else None
    after = ledger.begin(now, seen) if action == "begin" else ledger.end(now, seen, run)
    if after != now:
        store.write(path, after)
    return after


def _mended(module: AnsibleModule, note: Path) -> dict[str, Any]:
    """Finish what the run before was cut off in, and say so."""
    done = mend.mend(Path("/"), journal.read(note), _runner(module), check=module.check_mode)
    for line in done:
        module.warn(f"A run of this project had been cut off while apt worked: {line}")
    return {"changed": bool(done), "mended": done}


def _runner(module: AnsibleModule) -> mend.Runner:
    def run(words: list[str]) -> tuple[int, str]:
        environment = {"LANGUAGE": "C", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        code, out, err = module.run_command(
            [module.get_bin_path(words[0], required=True), *words[1:]], environ_update=environment
        )
        return code, f"{out}\n{err}"

    return run


def _give_back(module: AnsibleModule, record: ledger.Record | None, path: Path) -> dict[str, Any]:
    note = journal.beside(path)
    if record is None:
        if not module.check_mode:
            journal.end(note)
            if look.empty(path.parent):
                path.parent.rmdir()
        return {"changed": False, "known": False, "runs": [], "purged": [], "stay": {}}
    run = _runner(module)
    plan = give_back.plan(record, module.params["keep"], run)
    if not module.check_mode:
        give_back.apply(plan, run)
        path.unlink()
        journal.end(note)
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
