#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: fetch file artifacts of a stack once and record what they are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_lock
short_description: Fetch files of a stack once and record size and digest in its lock file
version_added: "0.1.0"
description:
  - Runs on the controller. Fetches each artifact of kind C(file) into a cache, compares it with what the stack and the
    lock know, verifies its detached signature where there is one, and records size and sha256 in the lock file.
  - Of an C(image) it asks the registry for the digest behind the stack's tag.
  - Of a C(wheel-index) it reads the pages alone, and records the sha256 that they state for the stack's wheels.
  - A file that differs from what is known is refused, and nothing is recorded for it.
options:
  stack:
    description: The stack, as the lookup P(mi50_stack#lookup) returns it.
    type: dict
    required: true
  cache:
    description: Folder for the files.
    type: path
    required: true
  artifacts:
    description: Names of artifacts. Empty means every file, index and image that is not locked yet and has an address.
    type: list
    elements: str
    default: []
  values:
    description:
      - Values that were found elsewhere, by artifact, each with C(url) and what the lock holds of its kind.
      - When given, they are recorded and nothing is fetched.
    type: dict
    default: {}
  keyring:
    description: Keyring for detached signatures. Empty means the one the stack names, where that exists.
    type: path
    default: ""
attributes:
  check_mode:
    description: Names what would be fetched, and fetches nothing.
    support: full
  diff_mode:
    description: Shows the entries that are added.
    support: full
  platform:
    description: Systems it runs on.
    platforms: linux
    support: full
requirements:
  - PyYAML
  - jsonschema
  - gpgv for signatures
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: Lock the Arch package
  stack_lock:
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
    cache: /var/cache/mi50-aipc/artifacts
    artifacts: [rocblas-arch]
"""

RETURN = r"""
locked:
  description: Entries recorded in this run, by artifact.
  returned: always
  type: dict
  sample: {"rocblas-arch": {"size": 263000000, "sha256": "ab12"}}
unchanged:
  description: Artifacts whose file agrees with the lock.
  returned: always
  type: list
  elements: str
  sample: []
lock_file:
  description: The lock file.
  returned: always
  type: str
  sample: /srv/mi50-aipc/stacks/rocm-6.4.3.lock.yml
"""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.stack import images
from ansible.module_utils.mi50.stack.fetch import fetch
from ansible.module_utils.mi50.stack.load import StackError
from ansible.module_utils.mi50.stack.lock import record
from ansible.module_utils.mi50.stack.wheels import entry as wheels_of


def choose(stack: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Return the artifacts to lock. Raises StackError for a name that is none of the stack's."""
    files = {name: a for name, a in stack["artifacts"].items() if a["kind"] in ("file", "wheel-index", "image")}
    if not names:
        return [a for name, a in sorted(files.items()) if name in stack["unlocked"] and a["url"]]
    for name in names:
        if name not in files:
            known = ", ".join(sorted(files))
            raise StackError(
                f"mi50_lock_artifacts: {name!r} is no file, index or image of {stack['name']}; known: {known}"
            )
    return [files[name] for name in names]


def keyring_for(artifact: dict[str, Any], given: str) -> str | None:
    """Return the keyring to verify with: the one given, else the stack's where it exists on this machine."""
    if given:
        return given
    named = artifact.get("signature", {}).get("keyring")
    return named if named and Path(named).is_file() else None


def record_given(module: AnsibleModule, stack: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the lock entries of values found elsewhere. Raises StackError for what the stack says otherwise."""
    entries = []
    for name, values in sorted(module.params["values"].items()):
        artifact = stack["artifacts"].get(name)
        if artifact is None:
            raise StackError(f"{name}: the stack {stack['name']} has no such artifact; nothing was recorded")
        # What the stack itself says needs no lock, and must be the same.
        for key in ("sha256", "digest", "size"):
            if artifact.get(key) not in (None, values.get(key)):
                raise StackError(f"{name}: {key} is {values.get(key)}, expected {artifact[key]}; nothing was recorded")
        if module.check_mode and name not in stack["unlocked"]:
            continue
        entry = {**values, "path": artifact["path"], "date": datetime.now(tz=timezone.utc).date().isoformat()}
        entries.append((name, entry))
    return entries


def main() -> None:
    """Fetch, compare, record."""
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "dict", "required": True},
            "cache": {"type": "path", "required": True},
            "artifacts": {"type": "list", "elements": "str", "default": []},
            "keyring": {"type": "path", "default": "", "no_log": False},
            "values": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    stack, cache = module.params["stack"], Path(module.params["cache"])
    lock_file = Path(stack["lock_file"])
    locked: dict[str, Any] = {}
    unchanged: list[str] = []
    before = lock_file.read_text(encoding="utf-8") if lock_file.exists() else ""
    try:
        for name, entry in record_given(module, stack):
            if module.check_mode or record(lock_file, stack["name"], name, entry):
                locked[name] = entry
            else:
                unchanged.append(name)
        for artifact in [] if module.params["values"] else choose(stack, module.params["artifacts"]):
            name, keyring = artifact["name"], keyring_for(artifact, module.params["keyring"])
            if module.check_mode:
                locked[name] = {"url": artifact["url"]}
                continue
            if artifact.get("signature") and not keyring:
                module.warn(f"{name}: no keyring, so its signature was not verified: what is fetched now is trusted")
            if artifact["kind"] == "image":
                entry = images.entry(artifact)
            elif artifact["kind"] == "wheel-index":
                entry = wheels_of(stack, artifact)
            else:
                entry = fetch(artifact, cache, keyring)
            entry["date"] = datetime.now(tz=timezone.utc).date().isoformat()
            if record(lock_file, stack["name"], name, entry):
                locked[name] = entry
            else:
                unchanged.append(name)
    except StackError as exc:
        module.fail_json(msg=str(exc), locked=locked, unchanged=unchanged, lock_file=str(lock_file))
    after = lock_file.read_text(encoding="utf-8") if lock_file.exists() else ""
    module.exit_json(
        changed=bool(locked),
        locked=locked,
        unchanged=unchanged,
        lock_file=str(lock_file),
        diff={"before": before, "after": after, "before_header": str(lock_file), "after_header": str(lock_file)},
    )


if __name__ == "__main__":
    main()
