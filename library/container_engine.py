#!/usr/bin/python
# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module container_engine; the logic is in module_utils/mi50/containers/engine.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_engine
short_description: Docker as it is found, running, with registries merged into its settings
version_added: "0.1.0"
author:
  - mi50-aipc contributors (@mi50-aipc)
description:
  - Looks whether there is a Docker; has it running and enabled, with mirrors of Docker Hub and plain-http registries.
  - Adds single entries to C(/etc/docker/daemon.json), notes which, and takes only those away again. All else in it
    stays as it is, and containers run on, since dockerd reads these settings again without a restart.
  - Refuses what it cannot drive (podman's docker, a snap, rootless Docker), a file that is no JSON, and settings that
    dockerd gets among its flags.
options:
  registry_mirrors:
    description: Mirrors of Docker Hub, C(http(s)://HOST[:PORT]), asked in this order.
    type: list
    elements: str
    default: []
  insecure_registries:
    description: Registries that speak plain http, C(HOST[:PORT]) or a network.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Use the Docker that is there, through a mirror of Docker Hub
  container_engine:
    registry_mirrors: ["https://mirror.example"]
"""

RETURN = r"""
missing:
  description: Name of the package to install when there is no Docker (nothing else is done then), else empty.
  returned: success
  type: str
  sample: docker.io
version:
  description: Version of the running engine, empty when it does not run.
  returned: success
  type: str
  sample: 20.10.24+dfsg1
root_dir:
  description: Where it keeps images.
  returned: success
  type: str
  sample: /var/lib/docker
reasons:
  description: What was (in check mode, would be) done.
  returned: success
  type: list
  elements: str
  sample: [/etc/docker/daemon.json gets registries]
diff:
  description: Before and after of C(/etc/docker/daemon.json).
  returned: success
  type: dict
  sample: {before: "", after: ""}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.containers import daemon, engine
from ansible.module_utils.mi50.containers.errors import ContainerError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "registry_mirrors": {"type": "list", "elements": "str", "default": []},
            "insecure_registries": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str]:
        code, output, errors = module.run_command(command, environ_update={"LC_ALL": "C"}, handle_exceptions=False)
        return code, output + errors

    def quiet(command: list[str]) -> tuple[int, str]:
        try:
            return run(command)
        except OSError as error:
            return 127, f"{command[0]}: not found ({error})"

    mirrors, insecure = module.params["registry_mirrors"], module.params["insecure_registries"]
    try:
        daemon.wanted(mirrors, insecure)
        seen = engine.look(quiet)
        said = {"version": seen.server, "root_dir": seen.root_dir}
        if not seen.program:
            said["missing"] = engine.PACKAGE
            module.exit_json(changed=False, reasons=[], diff={"before": "", "after": ""}, **said)
        wrong = engine.problems(seen)
        if wrong:
            module.fail_json(msg="; ".join(wrong))
        found = engine.configure(mirrors, insecure, seen, quiet, check_mode=module.check_mode)
        if not seen.server and not module.check_mode:
            seen = engine.look(quiet)
            said = {"version": seen.server, "root_dir": seen.root_dir}
    except (ContainerError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(missing="", **said, **found)


if __name__ == "__main__":
    main()
