"""vLLM over several nodes: what is refused, how the model is spread, how Ray starts. Real Ray is not in these tests."""

from __future__ import annotations

import pytest
from mi50.vllm import cluster

IMAGE = "docker.io/nalanzeyu/vllm-gfx906@sha256:" + "a" * 64
HEAD = cluster.Member("n1", "10.0.0.1", "eth1", 2, IMAGE, "/models/big", "w1", "0.12.0", "2.48.0")
WORKER = HEAD._replace(name="n2", address="10.0.0.2")
WISHES = cluster.Wishes(["n1", "n2"])


def test_two_alike_nodes_have_no_problems() -> None:
    assert cluster.problems(WISHES, [HEAD, WORKER]) == []
    assert cluster.layout([HEAD, WORKER]) == cluster.Layout(tensor=2, pipeline=2, total=4)
    flags = cluster.serve_flags(cluster.layout([HEAD, WORKER, WORKER]))
    assert flags[-3:] == ["2", "--pipeline-parallel-size", "3"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "127.0.0.1"}, ["n2: 127.0.0.1 is not reached", "vllm_cluster_address"]),
        ({"address": "1.1.1.1"}, ["n2: 1.1.1.1 is no private address", "runs code"]),
        ({"address": "n2.example"}, ["no IP address"]),
        ({"address": "10.0.0.1"}, ["10.0.0.1 is the address of two nodes"]),
        ({"interface": ""}, ["no network interface has 10.0.0.2"]),
        ({"cards": 0}, ["no gfx906 card", "different numbers of cards"]),
        ({"cards": 4}, ["different numbers of cards", "2 on n1; 4 on n2", "vllm_gpus"]),
        ({"image": "vllm:latest"}, ["has no digest", "different images"]),
        ({"image": IMAGE.replace("a" * 64, "b" * 64)}, ["different images", "vllm_image_digest"]),
        ({"ray": ""}, ["n2: the image has no Ray", "different versions of Ray: 2.48.0 on n1; none on n2"]),
        ({"ray": "2.9.3"}, ["Ray 2.9.3; vLLM asks for 2.48"]),
        ({"vllm": "0.11.2"}, ["different versions of vLLM"]),
        ({"model": "/srv/big"}, ["different model folders"]),
        ({"weights": "w2"}, ["different model files"]),
        ({"weights": ""}, ["n2: /models/big is not there or not whole"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_node_that_does_not_fit(change: dict[str, object], words: list[str]) -> None:
    found = "\n".join(cluster.problems(WISHES, [HEAD, WORKER._replace(**change)]))
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes": ["n1"]}, ["vllm_cluster has 1 nodes"]),
        ({"nodes": ["n1", "n2", "n2"]}, ["names n2 twice"]),
        ({"nodes": ["n1", "n2", "n3"]}, ["names n3, of which nothing is known"]),
        ({"port": 80}, ["port would be port 80"]),
        ({"port": 10250}, ["port is port 10250, which lies among the workers' 10200-10299"]),
        ({"port": 10102}, ["port and runtime-env-agent-port both claim port 10102"]),
        ({"ports": 10196}, ["dashboard-agent-grpc-port is port 10200"]),
        ({"workers": (300, 200)}, ["vllm_cluster_worker_ports is 300-200"]),
    ],
    ids=["one", "twice", "unknown", "low", "among", "claimed", "overlap", "order"],
)
def test_wishes_that_make_no_sense(change: dict[str, object], words: list[str]) -> None:
    found = "\n".join(cluster.problems(WISHES._replace(**change), [HEAD, WORKER]))
    assert [word for word in words if word not in found] == []


def test_a_public_address_is_a_wish_of_its_own() -> None:
    assert cluster.problems(WISHES._replace(public=True), [HEAD, WORKER._replace(address="1.1.1.1")]) == []


def test_ray_starts_on_known_ports_and_opens_no_door() -> None:
    head, worker = (cluster.ray_command(WISHES, one, HEAD) for one in (HEAD, WORKER))
    assert head[:3] == worker[:3] == ["ray", "start", "--block"]
    assert {"--head", "--port=6379", "--include-dashboard=false", "--node-ip-address=10.0.0.1"} <= set(head)
    assert "--address=10.0.0.1:6379" in worker
    assert "--head" not in worker
    given = {int(word.rpartition("=")[2]) for word in worker if "-port=" in word}
    assert cluster.open_ports(WISHES, head=False) == ["10100-10105", "10200-10299"]
    assert given == {*range(10100, 10106), 10200, 10299}
    assert cluster.open_ports(WISHES, head=True)[0] == "6379"
    six = HEAD._replace(address="fd00::1")
    assert "--address=[fd00::1]:6379" in cluster.ray_command(WISHES, WORKER, six)


def test_each_node_says_its_own_address_and_interface() -> None:
    told = cluster.environment(WORKER)
    assert {told[name] for name in told if "IP" in name} == {"10.0.0.2"}
    assert {told[name] for name in told if "IFNAME" in name} == {"eth1"}


def test_vllm_starts_last_and_not_before_all_have_joined() -> None:
    assert cluster.start_order(WISHES) == [["n1: ray"], ["n2: ray"], ["n1: vllm"]]
    assert cluster.missing({"10.0.0.1": 2, "10.0.0.2": 2}, [HEAD, WORKER]) == []
    assert cluster.missing({"10.0.0.1": 1}, [HEAD, WORKER]) == [
        "n1 gives Ray 1 cards instead of 2",
        "n2 has not joined Ray at 10.0.0.2",
    ]
