"""Starts Ray on one node of a vLLM that spans several, inside of the image. Standard library, and the image's ray.

    mi50_cluster.py lead OPTIONS -- vllm serve …   start Ray's head, wait for every node, then serve
    mi50_cluster.py join OPTIONS                   wait for the head, then be one of its nodes until either ends

A node tells what it was set up with by a resource of its own: `mi50-` and a digest of the image, the model's name and
its config.json. Versions of Ray and Python that differ are refused by Ray itself.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_CONNECT = 3.0  # seconds for one attempt to reach the head


def say(text: str) -> None:
    """One line of the log."""
    sys.stdout.write(f"mi50_cluster: {text}\n")
    sys.stdout.flush()


def resource(mark: str, model: Path) -> str:
    """Return the resource of a node that was set up like this one. Raises OSError: the model is not there."""
    config = (model / "config.json").read_bytes()
    return f"mi50-{hashlib.sha256(mark.encode() + model.name.encode() + config).hexdigest()[:12]}"


def lacking(nodes: Sequence[Mapping[str, Any]], wanted: Sequence[str], own: str, cards: int) -> list[str]:
    """Say what the cluster lacks, of what `ray.nodes()` returned; empty when it is whole.

    `own` is the resource that every node must have. Raises nothing.
    """
    alive = {str(node["NodeManagerAddress"]): node.get("Resources", {}) for node in nodes if node.get("Alive")}
    found = []
    for address in wanted:
        has = alive.get(address)
        if has is None:
            found.append(f"{address} has not joined")
        elif own not in has:
            found.append(f"{address} was set up with another image, model or config.json")
        elif int(has.get("GPU", 0)) != cards:
            found.append(f"{address} has {int(has.get('GPU', 0))} cards, {cards} are needed on every node")
    return found + [f"{address} is none of the cluster" for address in sorted(set(alive) - set(wanted))]


def interface(own: str) -> str:
    """Return the name of the interface with that IPv4 address. Raises SystemExit: there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        for dummy, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(ask.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no address
            if socket.inet_ntoa(reply[20:24]) == own:
                return name
    raise SystemExit(f"no interface of this node has the address {own}: mend vllm_cluster")


def environment(given: argparse.Namespace) -> dict[str, str]:
    """Return what Ray, RCCL and Gloo have to be told, so that they meet on the network between the nodes."""
    name = interface(given.own)
    return {
        "VLLM_HOST_IP": given.own,
        "NCCL_SOCKET_IFNAME": name,
        "GLOO_SOCKET_IFNAME": name,
        "RAY_ADDRESS": f"{given.nodes[0]}:{given.port}",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def start(given: argparse.Namespace) -> list[str]:
    """Return Ray's own command, with every port that it listens on."""
    low, high = given.workers.split("-")
    words = ["ray", "start", "--node-ip-address", given.own, "--num-gpus", str(given.cards), "--disable-usage-stats"]
    words += ["--node-manager-port", str(given.port + 1), "--object-manager-port", str(given.port + 2)]
    words += ["--min-worker-port", low, "--max-worker-port", high]
    words += ["--resources", json.dumps({resource(given.mark, Path(given.model)): 1})]
    if given.role == "lead":
        return [*words, "--head", "--port", str(given.port), "--include-dashboard", "false"]
    return [*words, "--address", f"{given.nodes[0]}:{given.port}", "--block"]


def reachable(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=_CONNECT):
            return True
    except OSError:
        return False


def wait(look: Callable[[], list[str]], sleep: Callable[[float], None] = time.sleep) -> None:
    """Look every other second until nothing is lacking; what is said is said once."""
    said: list[str] = []
    while found := look():
        if found != said:
            say(f"waiting: {'; '.join(found)}")
            said = found
        sleep(2)


def lead(given: argparse.Namespace) -> None:
    """Start the head, wait for the others, become what serves."""
    # pylint: disable-next=ansible-bad-function
    subprocess.run(start(given), check=True)
    import ray  # type: ignore[import-not-found] # noqa: PLC0415 - the image's own

    ray.init(address=os.environ["RAY_ADDRESS"], logging_level="warning")
    own = resource(given.mark, Path(given.model))
    wait(lambda: lacking(ray.nodes(), given.nodes, own, given.cards))
    ray.shutdown()
    say(f"{len(given.nodes)} nodes with {given.cards} cards each: starting {' '.join(given.command[:2])}")
    os.execvp(given.command[0], given.command)  # noqa: S606 - becomes what serves


def join(given: argparse.Namespace) -> None:
    """Wait for the head, so that systemd need not try again and again, then be one of its nodes."""
    head = given.nodes[0]
    wait(lambda: [] if reachable(head, given.port) else [f"the head does not answer at {head}:{given.port}"])
    words = start(given)
    os.execvp(words[0], words)  # noqa: S606 - becomes Ray


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["lead", "join"])
    parser.add_argument("--nodes", type=lambda text: text.split(","), required=True, help="addresses, the head's first")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cards", type=int, required=True, help="on each node")
    for name in ("own", "workers", "mark", "model"):
        parser.add_argument(f"--{name}", required=True)
    at = words.index("--") if "--" in words else len(words)
    found = parser.parse_args(words[:at])
    found.command = list(words[at + 1 :])
    return found


def main(words: list[str]) -> None:
    """Do what is asked; does not come back."""
    given = arguments(words)
    os.environ.update(environment(given))
    (lead if given.role == "lead" else join)(given)


if __name__ == "__main__":
    main(sys.argv[1:])
