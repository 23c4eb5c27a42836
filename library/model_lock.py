#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module model_lock; the logic is in module_utils/mi50/models/catalog.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_lock
short_description: Record what models of the catalogue are, once
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Runs on the controller. Asks each model's hub for the commit, the files, their sizes and digests (kilobytes, no
    weights) and records them in C(catalog.lock.yml) beside the catalogue.
  - What contradicts the catalogue or the lock is refused, and nothing is recorded for that model.
options:
  folder:
    description: Folder of the catalogue.
    type: path
    required: true
  models:
    description: Names of models. Empty means all that are not locked yet and lack a revision or a digest.
    type: list
    elements: str
    default: []
  endpoints:
    description: Base address of each hub, by source.
    type: dict
    default: {}
  token_files:
    description: Files on the controller with a hub's token, by source. Readable by their owner alone.
    type: dict
    default: {}
  timeout:
    description: Seconds without a byte after which a hub counts as gone.
    type: int
    default: 60
requirements:
  - PyYAML
attributes:
  check_mode:
    description: Names what would be asked for, and asks nobody.
    support: full
  diff_mode:
    description: Not supported; the lock file is a file of the checkout.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Record one model
  model_lock:
    folder: stacks/models
    models: [qwen3-30b-a3b-gptq-int4]
    endpoints: {huggingface: "https://mirror.example"}
"""

RETURN = r"""
locked:
  description: Names of models recorded in this run.
  returned: success
  type: list
  elements: str
  sample: [qwen3-30b-a3b-gptq-int4]
unchanged:
  description: Names of models that agree with the lock.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.fetch.errors import FetchError
from ansible.module_utils.mi50.models import catalog, hub, tokens
from ansible.module_utils.mi50.models.errors import ModelError
from ansible.module_utils.mi50.models.wanted import parse


def choose(known: dict[str, dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return the models to ask for. Raises ModelError for a name that is none."""
    for name in names:
        if name not in known:
            raise ModelError(
                f"mi50_lock_models: the catalogue has no model {name!r}; known: {', '.join(sorted(known))}."
            )
    return [known[name] for name in names] if names else [one for one in known.values() if catalog.unlocked(one)]


def entry(model: dict[str, Any], hubs: hub.Endpoints) -> dict[str, Any]:
    """Return what a model's hub says of it. Raises ModelError, FetchError."""
    # A catalogue may leave the revision open; the hub's main branch is what is recorded then.
    asked = {**model, "revision": model.get("revision") or "main"}
    whole = hub.complete(parse([catalog.plain(asked)], "catalog")[0], hubs)
    files = [
        {key: value for key, value in (("path", one.path), ("sha256", one.sha256), ("size", one.size)) if value}
        for one in whole.files
    ]
    return {"revision": whole.revision, "files": files}


def main() -> None:
    """Ask, compare, record."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "models": {"type": "list", "elements": "str", "default": []},
            "endpoints": {"type": "dict", "default": {}},
            "token_files": {"type": "dict", "default": {}, "no_log": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    folder = Path(params["folder"])
    locked: list[str] = []
    unchanged: list[str] = []
    try:
        hubs = hub.Endpoints(params["endpoints"], tokens.read(params["token_files"]), params["timeout"])
        for model in choose(catalog.load(folder), params["models"]):
            name = str(model["name"])
            if module.check_mode or catalog.record(folder, name, entry(model, hubs)):
                locked.append(name)
            else:
                unchanged.append(name)
    except (ModelError, FetchError, OSError) as error:
        module.fail_json(msg=str(error), locked=locked, unchanged=unchanged)
    module.exit_json(changed=bool(locked), locked=locked, unchanged=unchanged)


if __name__ == "__main__":
    main()
