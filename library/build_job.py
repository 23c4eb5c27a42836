#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module build_job; the logic is in module_utils/mi50/build."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_job
short_description: Build an artifact on this node, or keep one that was built elsewhere
version_added: "0.3.0"
author:
  - mi50-aipc authors (@mi50-aipc)
description:
  - What M(build_once) asks of a node. The build itself runs as transient units of systemd and outlives this call.
options:
  action:
    description:
      - C(look) says which of O(builds) are here, and what the node could spare for building the others.
      - C(state) says how far a build is, or why it failed. C(start) begins it, or attaches to one that runs.
      - C(collect) keeps the finished artifact in O(dir). C(install) keeps O(src), built elsewhere.
      - C(clean) stops a build and removes what it left. C(absent) removes all builds and everything they left.
    type: str
    choices: [look, state, start, collect, install, clean, absent]
    required: true
  builds:
    description: For C(look), the artifacts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the build in the stack.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
      parts:
        description: What the recipe contributes to the key.
        type: dict
        required: true
      requires_python:
        description: Lowest and highest minor version of Python, C(3.10-3.14). Empty means any.
        type: str
        default: ""
      pin:
        description: Beginning of the key of the build to use, whatever the recipe says now.
        type: str
        default: ""
  name:
    description: Name of the build.
    type: str
    default: ""
  key:
    description: Its key.
    type: str
    default: ""
  dir:
    description: Where finished builds are kept, one folder a key.
    type: path
    default: /var/cache/mi50-aipc/builds
  work_dir:
    description: Where builds work.
    type: path
    default: /var/lib/mi50-aipc/build
  python:
    description: For C(look), the interpreter the artifacts are for.
    type: path
    default: /usr/bin/python3
  job:
    description: For C(start), what the runner shall do.
    type: dict
    default: {}
  limits:
    description: For C(start), C(memory_mib), C(minutes), C(sandbox) and C(environment).
    type: dict
    default: {}
  facts:
    description: For C(collect), what the manifest says of the build beside its result.
    type: dict
    default: {}
  manifest:
    description: For C(install), the manifest of O(src).
    type: dict
    default: {}
  src:
    description: For C(install), the artifact on this node.
    type: path
    default: ""
  keep:
    description: For C(install), how many earlier builds of the artifact stay for going back.
    type: int
    default: 2
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: C(look) and C(state) change nothing at any time; the others do nothing in check mode.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: See how far a build is
  build_job:
    action: state
    name: triton
    key: 3f2a91c06d5e4b7f8a9b0c1d2e3f4a5b
  register: __build
"""

RETURN = r"""
settled:
  description: Whether all O(builds) are here, for C(look).
  type: bool
  returned: for C(look)
  sample: true
builds:
  description: The artifacts by name, for C(look), with C(held), C(key), C(path) and the node's capacity.
  type: dict
  returned: for C(look)
  sample: {triton: {held: true, key: 3f2a91c06d5e4b7f8a9b0c1d2e3f4a5b}}
state:
  description: C(nothing), C(running), C(finished), C(failed), or C(lost) when the machine restarted under the build.
  type: str
  returned: for C(state) and C(start)
  sample: running
progress:
  description: What the runner last said of its progress.
  type: dict
  returned: when it said something
  sample: {step: compile, done: 812, total: 2210}
cause:
  description: Of a failed build, C(name), C(kind), C(text) and C(remedy).
  type: dict
  returned: when it failed
  sample: {name: memory, kind: host, text: it ran out of memory, remedy: lower build_once_jobs}
attached:
  description: Whether the build had been begun before.
  type: bool
  returned: for C(start)
  sample: false
manifest:
  description: What was kept.
  type: dict
  returned: for C(collect) and C(install)
  sample: {name: triton, version: 3.5.0+gfx906}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.build import question, store
from ansible.module_utils.mi50.build.job import Job, JobError, Place, remove_everything
from ansible.module_utils.mi50.build.unit import Limits, UnitError, environment


def main() -> None:
    """Do one action."""
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "choices": ["look", "state", "start", "collect", "install", "clean", "absent"],
                "required": True,
            },
            "builds": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": question.SPEC["builds"]["options"],
            },
            "name": {"type": "str", "default": ""},
            # The key of a cache, not a secret.
            "key": {"type": "str", "default": "", "no_log": False},
            "dir": {"type": "path", "default": "/var/cache/mi50-aipc/builds"},
            "work_dir": {"type": "path", "default": "/var/lib/mi50-aipc/build"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "job": {"type": "dict", "default": {}},
            "limits": {"type": "dict", "default": {}},
            "facts": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
            "src": {"type": "path", "default": ""},
            "keep": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    actions = {
        "look": look,
        "state": state,
        "start": start,
        "collect": collect,
        "install": install,
        "clean": clean,
        "absent": absent,
    }
    try:
        module.exit_json(**actions[module.params["action"]](module))
    except (JobError, UnitError, store.StoreError, question.Unanswered) as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or module.params['work_dir']}: {exc.strerror or exc}")


def look(module: AnsibleModule) -> dict[str, Any]:
    """Say what is here and what could be done about the rest."""
    return {"changed": False, **question.look(module.params)}


def state(module: AnsibleModule) -> dict[str, Any]:
    """Say how far the build is."""
    return {"changed": False, **_job(module).state()}


def start(module: AnsibleModule) -> dict[str, Any]:
    """Begin, or attach."""
    if module.check_mode:
        return {"changed": False, **_job(module).state(), "attached": False}
    given = module.params["limits"]
    limits = Limits(given["memory_mib"], given["minutes"], given["sandbox"], environment(given["environment"]))
    found = _job(module).start(module.params["job"], limits)
    return {"changed": not found["attached"], **found}


def collect(module: AnsibleModule) -> dict[str, Any]:
    """Keep what was built here; a second call finds it kept."""
    kept = _shelf(module).manifest(module.params["key"])
    if kept is not None and not _shelf(module).problem(module.params["key"], verify=True):
        return {"changed": False, "manifest": kept}
    if module.check_mode:
        return {"changed": False, "manifest": {}}
    return {"changed": True, "manifest": _job(module).collect(module.params["facts"])}


def install(module: AnsibleModule) -> dict[str, Any]:
    """Keep what was built elsewhere."""
    manifest = module.params["manifest"]
    if not module.check_mode:
        shelf = _shelf(module)
        shelf.tidy()
        shelf.place(manifest, {manifest["files"][0]["name"]: Path(module.params["src"])})
        shelf.prune(manifest, module.params["keep"])
    return {"changed": True, "manifest": manifest}


def clean(module: AnsibleModule) -> dict[str, Any]:
    """Stop a build and remove what it left."""
    if not module.check_mode:
        _job(module).clean()
    return {"changed": True}


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Remove all builds, the builds' folders and their user."""
    changed = remove_everything(Path(module.params["dir"]), Path(module.params["work_dir"]), dry=module.check_mode)
    return {"changed": changed}


def _shelf(module: AnsibleModule) -> store.Store:
    return store.Store(Path(module.params["dir"]))


def _job(module: AnsibleModule) -> Job:
    name, key, work = module.params["name"], module.params["key"], Path(module.params["work_dir"])
    if not name or not key:
        module.fail_json(msg=f"action {module.params['action']} needs name and key")
    return Job(name, key, Place(work, question.job_folder(work, name, key), _shelf(module)))


if __name__ == "__main__":
    main()
