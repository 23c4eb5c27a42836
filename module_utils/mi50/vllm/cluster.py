"""One vLLM over several nodes: who leads, who joins, and what must hold before anything is started.

vLLM spans nodes with Ray: every node runs Ray in the same image, `vllm serve` runs on the first one. Cards of a node
share each layer, nodes follow one another (vLLM's docs/serving/parallelism_scaling.md, and its
examples/online_serving/multi-node-serving.sh for the order of the commands).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..serve.model import Node, Probe

SPEC: dict[str, dict[str, Any]] = {
    "cluster": {"type": "dict", "default": {}},
    "cluster_name": {"type": "str", "default": ""},
    "cluster_port": {"type": "int", "default": 6379},
}
PORTS = 3  # Ray's own, one after the other: the head's, each node's manager, each node's object store
# Ports that Ray's processes listen on; `ray start` takes a range of them.
WORKERS = (10100, 10999)
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


class Cluster(NamedTuple):
    """Addresses of all nodes, the head's first; this node's own; the head's port."""

    addresses: tuple[str, ...]
    own: str
    port: int

    @property
    def head(self) -> str:
        """Address of the node that serves."""
        return self.addresses[0]

    @property
    def leads(self) -> bool:
        """Whether this node is the one that serves."""
        return self.own == self.head


def of(options: Mapping[str, Any]) -> Cluster | None:
    """Return the cluster that valid options ask for; None: this node serves alone."""
    named = options.get("cluster") or {}
    if not named:
        return None
    return Cluster(
        tuple(map(str, named.values())), str(named.get(options["cluster_name"], "")), options["cluster_port"]
    )


def problems(options: Mapping[str, Any], node: Node) -> list[str]:
    """Say what of a cluster cannot be, in the order a person would mend it."""
    named: Mapping[str, Any] = options.get("cluster") or {}
    if not named:
        return []
    found = []
    if len(named) < 2:
        found.append("vllm_cluster names one node alone: name two or more, or leave it empty")
    if options["mode"] != "container":
        found.append("vllm_cluster needs vllm_mode: container, the same image on every node")
    if options["cluster_name"] not in named:
        found.append(
            f"vllm_cluster has {', '.join(named)}, and not this node, {options['cluster_name']!r}: set it for the "
            "nodes of the cluster alone"
        )
    twice = sorted({str(one) for one in named.values() if list(named.values()).count(one) > 1})
    found += [f"vllm_cluster gives {one} to two nodes: each has an address of its own" for one in twice]
    for name, address in named.items():
        found += _address(name, str(address))
    low, high = options["cluster_port"], options["cluster_port"] + PORTS - 1
    if low < 1024 or (low <= WORKERS[1] and high >= WORKERS[0]) or high > 65535:
        found.append(
            f"vllm_cluster_port is {low}: give 1024 to 65533, and not {WORKERS[0]} to {WORKERS[1]}, which Ray's "
            "processes take"
        )
    own = str(named.get(options["cluster_name"], ""))
    if own and not found and own not in local_addresses(node):
        who = options["cluster_name"]
        found.append(f"vllm_cluster says that {who} is {own}, which is no address of this node (`ip -4 addr`)")
    return found


def warnings(cluster: Cluster) -> list[str]:
    """What has to be known by whoever asks for one."""
    return [
        f"Ray and RCCL listen on every address of {', '.join(cluster.addresses)}, and do what anybody says who reaches "
        "them: let these nodes reach one another, and nobody else (docs/vllm-cluster.md)"
    ]


def local_addresses(node: Node) -> set[str]:
    """IPv4 addresses of this node, as its kernel's routing has them."""
    try:
        return set(_LOCAL.findall((node.proc / "net/fib_trie").read_text(encoding="ascii")))
    except OSError:
        return set()


def _address(name: str, text: str) -> list[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return [f"vllm_cluster: {name} has {text!r}, which is no address: give its IPv4 address in the private network"]
    if address.version != 4 or address.is_loopback or address.is_unspecified:
        return [f"vllm_cluster: {name} has {text}: give its IPv4 address in the private network between the nodes"]
    if not address.is_private:
        return [
            f"vllm_cluster: {name} has {text}, a public address. Ray does what anybody says who reaches it: give the "
            "node's address in a private network between the nodes"
        ]
    return []


def command(cluster: Cluster, cards: int, mark: str, model: str, serve: list[str]) -> list[str]:
    """Return what the container runs; `mark` tells nodes apart that were set up differently."""
    words = ["python3", "/mi50/mi50_cluster.py", "lead" if cluster.leads else "join"]
    words += ["--own", cluster.own, "--port", str(cluster.port), "--workers", "-".join(map(str, WORKERS))]
    words += ["--nodes", ",".join(cluster.addresses), "--cards", str(cards), "--mark", mark, "--model", model]
    return [*words, "--", *serve] if cluster.leads else words


def probe(cluster: Cluster, serves: Probe) -> Probe:
    """Return how this node is looked at: the head by a completion, the others by whether Ray runs there and has a head.

    Only the head answers requests; that the others hold their share of the model is proven by its completion.
    """
    if cluster.leads:
        # Each card holds its share; what lies on this node's is the model's divided by the nodes.
        return replace(serves, expected_vram=serves.expected_vram // len(cluster.addresses))
    url = f"ray://{cluster.own}:{cluster.port + 1}/{cluster.head}:{cluster.port}"
    return replace(serves, kind="ray", url=url, expected_vram=0, floor=0.0, completion_every=0)
