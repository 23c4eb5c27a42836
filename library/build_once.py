#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation for ansible-doc. The code is action_plugins/build_once.py; the node gets M(build_job)."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_once
short_description: Have artifacts that are compiled on one host and handed to all others
version_added: "0.3.0"
author:
  - mi50-aipc authors (@mi50-aipc)
description:
  - An artifact has a key of all that shapes its bytes. Hosts with the same key share one build.
  - Of the hosts that need it the one with the most memory and cores builds it, in units of systemd that outlive SSH and
    the controller; meanwhile lines of progress are shown. Run again, it follows the build that runs.
  - The finished artifact is kept on the controller and copied to every host that lacks it, proven by its SHA-256.
  - Two tasks are needed, O(state=looked) first, since a host is elected from what all of them said.
options:
  state:
    description:
      - C(looked) asks the host what it has. C(present) makes it have all O(builds).
      - C(electable) fails when a build is lacking and no host of the batch could make it; it asks nobody.
    type: str
    choices: [looked, electable, present]
    default: present
  stack:
    description: The stack, from lookup P(mi50_stack#lookup).
    type: dict
    required: true
  builds:
    description: Names from C(builds) of the stack.
    type: list
    elements: str
    required: true
  overrides:
    description: Changed fields of recipes, by name of the build.
    type: dict
    default: {}
  pin:
    description: Beginning of the key of an earlier build to use, by name of the build.
    type: dict
    default: {}
  answers:
    description: Name of the variable in which every host of the batch has its result of O(state=looked).
    type: str
    default: ""
  hosts:
    description: Hosts that may build. Empty means all of the play.
    type: list
    elements: str
    default: []
  dir:
    description: Where hosts keep finished builds.
    type: path
    default: /var/cache/mi50-aipc/builds
  work_dir:
    description: Where builds work.
    type: path
    default: /var/lib/mi50-aipc/build
  cache_dir:
    description: Where the controller keeps finished builds.
    type: path
    required: true
  python:
    description: The interpreter on the host that the artifacts are for.
    type: path
    default: /usr/bin/python3
  jobs:
    description: Compilers at once. 0 means as many as free memory and cores allow.
    type: int
    default: 0
  memory_mib:
    description: Limit of a build's memory in MiB. 0 means seven eighths of what is free.
    type: int
    default: 0
  keep:
    description: How many earlier builds of an artifact stay, for going back.
    type: int
    default: 2
  sandbox:
    description: Whether a build is shut off from the host's files and, while it compiles, from the network.
    type: bool
    default: true
  environment:
    description: Proxies of the phase that has a network.
    type: dict
    default: {}
  poll:
    description: Seconds between two looks at a build.
    type: float
    default: 2
  show:
    description: Seconds between two lines of progress.
    type: float
    default: 10
  lost_timeout:
    description: Seconds that the building host may be away, for example to restart.
    type: float
    default: 900
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
    details: Says what would be built, where, and which part of the key no earlier build fits.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: See what every host has and could do
  build_once:
    state: looked
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
    builds: [triton]
    cache_dir: ~/.cache/mi50-aipc/builds
  register: __look

- name: Build on one host, hand to the others
  build_once:
    stack: "{{ lookup('mi50_stack', 'rocm-6.4.3') }}"
    builds: [triton]
    answers: __look
    cache_dir: ~/.cache/mi50-aipc/builds
"""

RETURN = r"""
builds:
  description:
    - The artifacts by name, with C(path) on the host, C(sha256), C(size), C(version), C(key), C(builder) and C(from).
    - C(from) is C(node), C(cache) or C(built). In check mode C(path) is empty for what is not there.
  type: dict
  returned: success
  sample:
    triton:
      path: /var/cache/mi50-aipc/builds/3f2a91c06d5e4b7f/triton-3.5.0+gfx906-cp312-cp312-linux_x86_64.whl
      from: cache
"""
