#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module model; the logic is in module_utils/mi50/models/ensure.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model
short_description: Have models on the node, fetched once for all its engines
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Fetches models from Hugging Face, a mirror of it, ModelScope, any web server or a path on the node, into one folder.
  - A model takes its place whole and proven, or not at all. An interrupted transfer goes on where it broke off, in the
    same run and in the next, from another mirror too.
  - Before anything is fetched, looks whether the model fits on the cards and whether the disk has the space.
  - Files with the same digest are stored once. Nothing is asked of any host when all is there.
  - Shows how far a download is while it runs, and outlives a broken connection; a run that finds another one at work
    waits for it and shows its progress.
options:
  models:
    description: The models.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name, which is also the name of its folder in O(store).
        type: str
        required: true
      summary:
        description: For people.
        type: str
      source:
        description: Where it comes from.
        type: str
        choices: [huggingface, modelscope, url, path]
        default: huggingface
      repo:
        description: Repository on the hub, as OWNER/NAME.
        type: str
      revision:
        description: The commit. A branch moves; it is taken with a warning.
        type: str
      url:
        description: Address of the folder with the files, for O(models[].source=url).
        type: str
      path:
        description: File or folder on the node, for O(models[].source=path). It is linked where that is possible.
        type: str
      files:
        description: The files. Empty means those of the repository that match O(models[].include).
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Path within the repository and the model.
            type: str
            required: true
          sha256:
            description: Digest it must have. Hubs know it for large files; it is compared with theirs.
            type: str
          size:
            description: Bytes it must have.
            type: int
      include:
        description: Patterns of files that belong to the model. Without a slash they are of the top folder.
        type: list
        elements: str
        default: []
      check:
        description:
          - How it is to run, to be judged before it is fetched. C(context) in tokens, and any of C(slots), C(kv_type),
            C(tensor) and C(pipeline) (cards), C(windowed).
        type: dict
        default: {}
  absent:
    description: Names of models to remove. One that an engine is set up with is refused.
    type: list
    elements: str
    default: []
  store:
    description: The folder of all models.
    type: path
    default: /var/lib/mi50-aipc/models
  endpoints:
    description: Base address of each hub, by O(models[].source).
    type: dict
    default: {}
  token_files:
    description: Files on the node with a hub's token, by O(models[].source). Readable by root alone.
    type: dict
    default: {}
  reread:
    description: Read every byte of every model again and compare its digest.
    type: bool
    default: false
  timeout:
    description: Seconds without a byte after which a transfer counts as interrupted.
    type: int
    default: 60
  look:
    description: When something is lacking, only say so; ask nobody and change nothing.
    type: bool
    default: false
  progress:
    description: File that tells how far a download is.
    type: path
    default: /run/mi50-aipc/models.json
  sysfs_root:
    description: Where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Where procfs is mounted.
    type: path
    default: /proc
  dev_root:
    description: Where device files are.
    type: path
    default: /dev
notes:
  - Takes its proxies from the environment (C(http_proxy), C(https_proxy), C(no_proxy)); set C(environment) of the task.
attributes:
  check_mode:
    description: Asks the hubs, judges and reckons, but fetches and removes nothing.
    support: full
  diff_mode:
    description: Lists the models that are fetched, and why, and those that are removed.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
  action:
    description: Has an action plugin, which shows the progress.
    support: full
"""

EXAMPLES = r"""
- name: Have a model from a mirror of Hugging Face, if it fits with 32768 tokens
  model:
    models:
      - name: qwen3-30b-a3b
        repo: unsloth/Qwen3-30B-A3B-Thinking-2507-GGUF
        revision: a9b37aaac12b2bd0098783a443429543dd76a14d
        files:
          - path: Qwen3-30B-A3B-Thinking-2507-Q4_K_M.gguf
        check: {context: 32768}
    endpoints:
      huggingface: https://mirror.example
"""

RETURN = r"""
models:
  description: The models in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: qwen3-30b-a3b
    path:
      description: Its folder.
      type: str
      returned: always
      sample: /var/lib/mi50-aipc/models/qwen3-30b-a3b
    why:
      description: Why it was fetched; empty when it was there.
      type: str
      returned: always
      sample: missing
    bytes:
      description: Its size.
      type: int
      returned: always
      sample: 18556686752
    files:
      description: Its files with C(path), C(sha256) and C(size), as they lie there.
      type: list
      elements: dict
      returned: always
      sample: []
    pinned:
      description: Whether digests or a commit decide what it is.
      type: bool
      returned: always
      sample: true
    fit:
      description: The judgement on its memory, C(ok), C(tight), C(left), C(context), C(text); null without C(check).
      type: dict
      returned: always
      sample: {ok: true, tight: true, left: 1800000000, context: 131072, text: "…"}
present:
  description: Names of those that were there.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Names of those that were removed.
  returned: success
  type: list
  elements: str
  sample: []
unused:
  description: What lies in O(store) and is not asked for, with C(name), C(path), C(bytes). It is left alone.
  returned: success
  type: list
  elements: dict
  sample: []
bytes_received:
  description: Bytes that crossed the network.
  returned: when not in check mode
  type: int
  sample: 18556686752
lacking:
  description: Names of what is not as asked for; nothing else is returned then.
  returned: with O(look=true), when something is lacking
  type: list
  elements: str
  sample: []
diff:
  description: What is fetched and why, what is removed.
  returned: success
  type: dict
  sample: {before: "", after: "+ qwen3-30b-a3b (missing)\n"}
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.amdgpu.inventory import collect
from ansible.module_utils.mi50.fetch.errors import FetchError
from ansible.module_utils.mi50.models import ensure, hub, question, tokens
from ansible.module_utils.mi50.models.arguments import SPEC
from ansible.module_utils.mi50.models.errors import ModelError
from ansible.module_utils.mi50.models.wanted import Wanted, parse


def around(params: dict[str, Any], wanted: list[Wanted]) -> ensure.Surroundings:
    """Return what the logic needs to know of this node. Raises ModelError."""
    vram: tuple[int, ...] = ()
    if any(model.check for model in wanted):
        seen = collect(*(Path(params[f"{name}_root"]) for name in ("sysfs", "proc", "dev")))
        vram = ensure.card_memory(seen)
    hubs = hub.Endpoints(params["endpoints"], tokens.read(params["token_files"]), params["timeout"])
    return ensure.Surroundings(Path(params["store"]), hubs, vram, Path(params["progress"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    try:
        wanted = parse(params["models"], "models")
        if params["look"]:
            asked = [{"name": model.name, "identity": model.identity} for model in wanted]
            seen = question.answer({**params, "models": asked})
            if not seen["settled"]:
                module.exit_json(changed=False, lacking=seen["lacking"])
        found = ensure.ensure(
            wanted, params["absent"], around(params, wanted), check_mode=module.check_mode, reread=params["reread"]
        )
    except (ModelError, FetchError) as error:
        module.fail_json(msg=str(error))
    for text in ensure.remarks(found):
        module.warn(text)
    module.exit_json(**found)


if __name__ == "__main__":
    main()
