"""The script that starts an engine's container: what has to be looked up on the node is looked up at each start.

The unit runs it as the service's own user. That user is in no group of Docker's; the unit alone lends it to the client
(SupplementaryGroups=docker), which has fixed arguments and serves nobody. What serves runs inside, as the same user
without capabilities and without the engine's socket. See docs/vllm.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..addresses import joined

NAME = "mi50-{}"
LIBRARY = "/usr/local/lib/mi50-aipc/{}"
KEY = "/run/mi50/key"
CODE = "/mi50"
CACHE = "/cache"
MODELS = "/models"

_SCRIPT = """#!/bin/sh
# Managed by Ansible (mi50-aipc, service {name}); changes are overwritten.
# Starts the container. Device files, ids of groups and of the user are those of this moment; no secret is in here.
set -eu
container={container}
cache=/var/cache/mi50-aipc/{name}/{cache_key}

device() {{
  for node in {sysfs}/bus/pci/devices/"$1"/drm/renderD*; do
    if [ -e {dev}/dri/"${{node##*/}}" ]; then
      echo {dev}/dri/"${{node##*/}}"
      return
    fi
  done
  echo "the card $1 has no render node: is amdgpu loaded?" >&2
  return 1
}}

group() {{
  id=$(getent group "$1" | cut -d: -f3)
  if [ -z "$id" ]; then
    echo "there is no group $1 on this node, so the container could not open the card" >&2
    return 1
  fi
  echo "$id"
}}

mkdir -p "$cache/home"
docker rm --force "$container" >/dev/null 2>&1 || true
{create}
set -- --rm --name "$container" --pull never --init --log-driver none {network}
set -- "$@" --user "$(id -u):$(id -g)" --cap-drop ALL --security-opt no-new-privileges --shm-size {shm}
{devices}{mounts}{environment}{more}
exec docker run "$@" --entrypoint "" {image} {command}
"""

# A network of its own, in which containers do not see one another; one port is published where it shall be.
_NETWORK = """docker network inspect {name} >/dev/null 2>&1 ||
  docker network create --opt com.docker.network.bridge.enable_icc=false {name} >/dev/null
"""


class Container(NamedTuple):
    """One container. `cards`: PCI addresses; `mounts`: host path, path inside, whether it may be written to."""

    name: str
    image: str
    cache_key: str
    bind: str
    port: int
    key_file: str
    command: Sequence[str]
    cards: Sequence[str] = ()
    groups: Sequence[str] = ("render", "video")
    mounts: Sequence[tuple[str, str, bool]] = ()
    environment: Mapping[str, str] = {}
    arguments: Sequence[str] = ()
    shm: str = "8g"
    sysfs: str = "/sys"
    dev: str = "/dev"
    # Compute on ROCm opens /dev/kfd; Vulkan does not.
    kfd: bool = True
    # The node's own network, for an engine that spans several nodes.
    host_network: bool = False
    # vLLM's environment, and this project's code for it; another engine's program has neither.
    vllm: bool = True


def script(want: Container) -> str:
    """Return the text of the start script; every word is quoted for the shell."""
    quoted = shlex.quote
    lines = []
    if want.cards and want.kfd:
        lines.append(f'set -- "$@" --device {quoted(want.dev)}/kfd')
    for card in want.cards:
        # In two steps: a failing substitution inside of an argument would not stop the script.
        lines.append(f"node=$(device {quoted(card)})")
        lines.append('set -- "$@" --device "$node:$node"')
    for group in want.groups if want.cards else ():
        lines.append(f"id=$(group {quoted(group)})")
        lines.append('set -- "$@" --group-add "$id"')
    devices = "".join(f"{line}\n" for line in lines)
    mounts = 'set -- "$@" --volume "$cache:' + f'{CACHE}"\n'
    fixed = [(want.key_file, KEY, False)] + ([(LIBRARY.format(want.name), CODE, False)] if want.vllm else [])
    for host, inside, writable in [*fixed, *want.mounts]:
        mounts += f'set -- "$@" --volume {quoted(f"{host}:{inside}" + ("" if writable else ":ro"))}\n'
    given = {**(environment() if want.vllm else {}), **want.environment}
    variables = "".join(f'set -- "$@" --env {quoted(f"{key}={value}")}\n' for key, value in sorted(given.items()))
    more = f'set -- "$@" {shlex.join(want.arguments)}\n' if want.arguments else ""
    # On several nodes the processes listen on ports that they choose, at the node's own address.
    network, create = "--network host", ""
    if not want.host_network:
        create = _NETWORK.format(name=NAME.format(want.name))
        published = f"{joined(want.bind, want.port)}:{want.port}"
        network = f"--network {NAME.format(want.name)} --publish {quoted(published)}"
    return _SCRIPT.format(
        name=want.name,
        container=NAME.format(want.name),
        create=create,
        network=network,
        cache_key=quoted(want.cache_key),
        sysfs=quoted(want.sysfs),
        dev=quoted(want.dev),
        shm=quoted(want.shm),
        devices=devices,
        mounts=mounts,
        environment=variables,
        more=more,
        image=quoted(want.image),
        command=shlex.join(want.command),
    )


def environment() -> dict[str, str]:
    """Return what every vLLM here gets: caches on the volume, a name for an unknown user, no calls home."""
    return {
        "HOME": f"{CACHE}/home",
        # getpass.getuser() fails for a number without a name, and torch's compiler asks it.
        "USER": "mi50",
        "LOGNAME": "mi50",
        "XDG_CACHE_HOME": CACHE,
        "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
        "TRITON_CACHE_DIR": f"{CACHE}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",
        "MIOPEN_USER_DB_PATH": f"{CACHE}/miopen",
        "PYTHONPATH": CODE,
        "MI50_KEY_FILE": KEY,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HIP_FORCE_DEV_KERNARG": "1",
    }
