"""vLLM over several nodes, as vLLM itself does it: Ray. What has to be alike, who shares what, how Ray starts on each.

No role uses this yet, and no card has seen it: docs/vllm.md. What `ray_command` returns has been given to Ray 2.48.0 in
two network namespaces: both joined, and tasks that ask for all cards of a node ran on both. Ray listens on all of a
node's addresses whatever it is told, and asks for no password.

Sources: vLLM 0.12.0, docs/serving/parallelism_scaling.md (cards of a node share each layer, nodes follow one another;
identical environment, image and model path on all; private network), examples/online_serving/run_cluster.sh and
requirements/rocm.txt (ray[cgraph]>=2.48.0); Ray's reference of `ray start` and of its ports (Configuring Ray).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import NamedTuple

OLDEST_RAY = (2, 48)
FEWEST = 2
# Ray's own choice of these is random at each start, which no firewall can be told.
_FIXED = ("node-manager-port", "object-manager-port", "runtime-env-agent-port", "dashboard-agent-listen-port")
_EXTRA = ("dashboard-agent-grpc-port", "metrics-export-port")


class Member(NamedTuple):
    """A node as it is. `image`: reference with digest; `model`: folder; `weights`: digest of its files' list.

    `cards`: gfx906 cards it gives; `ray` and `vllm`: versions inside of the image, empty when there is none.
    """

    name: str
    address: str
    interface: str
    cards: int
    image: str
    model: str
    weights: str
    vllm: str
    ray: str


class Wishes(NamedTuple):
    """What is asked for. `nodes`: names, the head first; `port`: the head's.

    `ports`: the first of those that are fixed on all nodes; `workers`: first and last port of Ray's worker processes;
    `public`: whether an address that is not private will do.
    """

    nodes: Sequence[str]
    port: int = 6379
    ports: int = 10100
    workers: tuple[int, int] = (10200, 10299)
    public: bool = False


class Layout(NamedTuple):
    """Cards that share each layer, and nodes that follow one another; `total` cards."""

    tensor: int
    pipeline: int
    total: int


def problems(wishes: Wishes, members: Sequence[Member]) -> list[str]:
    """Everything that is wrong, a sentence each with the way out; the members in the order of `wishes.nodes`."""
    found = _wishes(wishes)
    known = {member.name for member in members}
    found += [
        f"vllm_cluster names {name}, of which nothing is known: is it in mi50_nodes, and up?"
        for name in dict.fromkeys(wishes.nodes)
        if name not in known
    ]
    for member in members:
        found += _own(member, wishes)
    if members:
        found += _alike(members)
    addresses = [member.address for member in members]
    found += [
        f"{address} is the address of two nodes of vllm_cluster: give each its own (vllm_cluster_address)"
        for address in dict.fromkeys(addresses)
        if addresses.count(address) > 1
    ]
    return found


def _wishes(wishes: Wishes) -> list[str]:
    found = []
    if len(wishes.nodes) < FEWEST:
        found.append(f"vllm_cluster has {len(wishes.nodes)} nodes: give {FEWEST} or more, or none at all")
    found += [
        f"vllm_cluster names {name} twice" for name in dict.fromkeys(wishes.nodes) if wishes.nodes.count(name) > 1
    ]
    low, high = wishes.workers
    if not 1024 <= low <= high <= 65535:
        found.append(
            f"vllm_cluster_worker_ports is {low}-{high}: give two ports from 1024 to 65535, the lower one first"
        )
    claimed: dict[int, str] = {}
    for name, port in [("port", wishes.port), *fixed_ports(wishes).items()]:
        if not 1024 <= port <= 65535:
            found.append(f"vllm_cluster: {name} would be port {port}: give ports from 1024 to 65535")
        elif low <= port <= high:
            found.append(f"vllm_cluster: {name} is port {port}, which lies among the workers' {low}-{high}")
        elif port in claimed:
            found.append(f"vllm_cluster: {claimed[port]} and {name} both claim port {port}")
        claimed.setdefault(port, name)
    return found


def _own(member: Member, wishes: Wishes) -> list[str]:
    """What is wrong with one node by itself."""
    oldest = ".".join(map(str, OLDEST_RAY))
    found = _address(member, wishes)
    if not member.interface:
        found.append(f"no network interface has {member.address}: correct vllm_cluster_address")
    if member.cards < 1:
        found.append("it has no gfx906 card to give")
    if "@sha256:" not in member.image:
        found.append(f"the image {member.image or '(none)'} has no digest, so nobody knows whether it is alike")
    if not member.ray:
        found.append("the image has no Ray, without which vLLM does not span nodes: take an image that has it")
    elif _version(member.ray) < OLDEST_RAY:
        found.append(f"the image has Ray {member.ray}; vLLM asks for {oldest} or newer (compiled graphs)")
    if not member.weights:
        found.append(f"{member.model} is not there or not whole: have it on each node (role models)")
    return [f"{member.name}: {text}" for text in found]


def _address(member: Member, wishes: Wishes) -> list[str]:
    try:
        address = ipaddress.ip_address(member.address)
    except ValueError:
        return [f"vllm_cluster_address is {member.address!r}, which is no IP address"]
    if address.is_loopback or address.is_unspecified:
        return [f"{address} is not reached from other nodes: give vllm_cluster_address"]
    if not address.is_private and not wishes.public:
        return [
            f"{address} is no private address. Whoever reaches Ray runs code on the node, and nothing is encrypted:"
            " give an address of a network of your own (vllm_cluster_address)"
        ]
    return []


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(".")[:2] if word.isdigit())


# Fields that have to be alike, what they are, and the way out.
_SAME = (
    ("image", "images", "all nodes need the same digest (vllm_image_digest)"),
    ("vllm", "versions of vLLM", "all nodes need the same image"),
    ("ray", "versions of Ray", "Ray refuses another version than the head's"),
    ("model", "model folders", "vLLM opens the same path on each node (vllm_model)"),
    ("weights", "model files", "fetch the model anew where it differs (role models)"),
    ("cards", "numbers of cards", "a node's cards share each layer: all give as many (vllm_gpus)"),
)


def _alike(members: Sequence[Member]) -> list[str]:
    found = []
    for name, what, remedy in _SAME:
        values: dict[str, list[str]] = {}
        for member in members:
            values.setdefault(str(getattr(member, name)), []).append(member.name)
        if len(values) > 1:
            told = "; ".join(f"{value or 'none'} on {', '.join(names)}" for value, names in values.items())
            found.append(f"the nodes of vllm_cluster have different {what}: {told}: {remedy}")
    return found


def layout(members: Sequence[Member]) -> Layout:
    """Return how the model is spread; for members that have no problems."""
    cards = members[0].cards
    return Layout(cards, len(members), cards * len(members))


def fixed_ports(wishes: Wishes) -> dict[str, int]:
    """Ray's ports on every node, by the name of its option."""
    return {name: wishes.ports + place for place, name in enumerate((*_FIXED, *_EXTRA))}


def open_ports(wishes: Wishes, *, head: bool) -> list[str]:
    """What a firewall between the nodes has to let through, as `port` or `first-last`. NCCL and Gloo choose theirs."""
    fixed = sorted(fixed_ports(wishes).values())
    low, high = wishes.workers
    return [*([str(wishes.port)] if head else []), f"{fixed[0]}-{fixed[-1]}", f"{low}-{high}"]


def ray_command(wishes: Wishes, member: Member, head: Member) -> list[str]:
    """Return the program of a node's Ray; it stays in the foreground and ends when Ray does."""
    low, high = wishes.workers
    if member.name == head.name:
        # No dashboard, and no Ray client: whoever reaches those runs code.
        role = ["--head", f"--port={wishes.port}", "--include-dashboard=false"]
    else:
        host = f"[{head.address}]" if ":" in head.address else head.address
        role = [f"--address={host}:{wishes.port}"]
    return [
        "ray",
        "start",
        "--block",
        "--disable-usage-stats",
        *role,
        f"--node-ip-address={member.address}",
        f"--num-gpus={member.cards}",
        *(f"--{name}={port}" for name, port in fixed_ports(wishes).items()),
        f"--min-worker-port={low}",
        f"--max-worker-port={high}",
    ]


def environment(member: Member) -> Mapping[str, str]:
    """Return what each node's container gets: the one address, and the interface that goes with it.

    Workers do not take these from the head (vLLM's RayDistributedExecutor copies VLLM_* but for the address).
    """
    return {
        "VLLM_HOST_IP": member.address,
        "RAY_NODE_IP_ADDRESS": member.address,
        "RAY_OVERRIDE_NODE_IP_ADDRESS": member.address,
        "NCCL_SOCKET_IFNAME": member.interface,
        "GLOO_SOCKET_IFNAME": member.interface,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def serve_flags(spread: Layout) -> list[str]:
    """Return what `vllm serve` gets on the head besides its own."""
    return [
        "--distributed-executor-backend",
        "ray",
        "--tensor-parallel-size",
        str(spread.tensor),
        "--pipeline-parallel-size",
        str(spread.pipeline),
    ]


def start_order(wishes: Wishes) -> list[list[str]]:
    """Return who starts together, one step after the other: Ray's head, the workers, and vLLM on the head at last."""
    head, *workers = wishes.nodes
    return [[f"{head}: ray"], [f"{name}: ray" for name in workers], [f"{head}: vllm"]]


def missing(status: Mapping[str, object], members: Sequence[Member]) -> list[str]:
    """What Ray's head lacks before vLLM may start. `status`: GPUs by the address of each node that is alive."""
    found = []
    for member in members:
        seen = status.get(member.address)
        if seen is None:
            found.append(f"{member.name} has not joined Ray at {member.address}")
        elif seen != member.cards:
            found.append(f"{member.name} gives Ray {seen} cards instead of {member.cards}")
    return found
