"""One vLLM over several nodes: what is refused, what the nodes run, and when the head starts to serve."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import probe, vllm
from mi50.serve.model import Service
from mi50.vllm import cluster, mi50_cluster

from tests.unit.vllm.test_engine import DIGEST, MODEL, Machine, common, options

NODES = {"one": "10.9.0.1", "two": "10.9.0.2"}
TRIE = """Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.9.0.{own}
        /32 host LOCAL
     |-- 10.9.0.255
        /32 link BROADCAST
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def define(machine: Machine, own: str = "one", **changes: Any) -> Any:
    proc = machine.root / "proc/net"
    proc.mkdir(parents=True, exist_ok=True)
    (proc / "fib_trie").write_text(TRIE.format(own={"one": 1, "two": 2}.get(own, 7)))
    asked = {"cluster": NODES, "cluster_name": own, **changes}
    cards = asked.pop("cards", 2)
    return vllm.define(common(cards), options(**asked), replace(machine.node, proc=machine.root / "proc"))


def start(service: Service) -> str:
    return str(service.files[0].content)


def test_the_first_one_serves(machine: Machine) -> None:
    found = define(machine)
    assert found.problems == []
    text = start(found.service)
    assert "--network host" in text
    assert "--publish" not in text
    assert "docker network" not in text
    assert re.search(r"mi50_cluster\.py lead --own 10\.9\.0\.1 .*--nodes 10\.9\.0\.1,10\.9\.0\.2 --cards 2", text)
    serve = text.partition(" -- vllm serve ")[2]
    assert "--host 127.0.0.1" in serve
    assert "--tensor-parallel-size 2 --pipeline-parallel-size 2" in serve
    assert "--distributed-executor-backend ray" in serve
    assert found.service.probe.kind == "vllm"
    # The image's weights lie on four cards, two of which are this node's.
    alone = machine.define(cards=2).service
    assert alone
    assert found.service.probe.expected_vram * 2 == alone.probe.expected_vram
    assert any("nobody else" in text for text in found.warnings)


def test_the_others_join(machine: Machine) -> None:
    service = define(machine, "two").service
    text = start(service)
    assert "mi50_cluster.py join --own 10.9.0.2" in text
    assert "vllm serve" not in text
    assert (service.probe.kind, service.probe.url) == ("ray", "ray://10.9.0.2:6380/10.9.0.1:6379")
    assert (service.probe.expected_vram, service.probe.completion_every) == (0, 0)


def test_every_node_runs_the_code_and_the_same_mark(machine: Machine) -> None:
    marks = set()
    for name in NODES:
        service = define(machine, name).service
        code = next(file for file in service.files if file.path.endswith("mi50_cluster.py"))
        assert "def lacking" in str(code.content)
        marks.add(re.findall(r"--mark (\S+)", start(service))[0])
    assert marks == {DIGEST.partition(":")[2][:12]}


def test_without_a_cluster_nothing_of_it_is_there(machine: Machine) -> None:
    service = machine.define(cards=2).service
    assert service
    assert "cluster" not in start(service) + str([file.path for file in service.files]) + str(service.facts)
    assert "--network mi50-vllm --publish 127.0.0.1:8000:8000" in start(service)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cluster": {"one": "10.9.0.1"}}, "one node alone"),
        ({"mode": "build"}, "needs vllm_mode: container"),
        ({"cluster_name": "three"}, "not this node, 'three'"),
        ({"cluster": {"one": "10.9.0.1", "two": "10.9.0.1"}}, "gives 10.9.0.1 to two nodes"),
        ({"cluster": {"one": "10.9.0.1", "two": "node2"}}, "'node2', which is no address"),
        ({"cluster": {"one": "10.9.0.1", "two": "127.0.0.1"}}, "private network between the nodes"),
        ({"cluster": {"one": "10.9.0.1", "two": "8.8.8.8"}}, "8.8.8.8, a public address"),
        ({"cluster_port": 80}, "vllm_cluster_port is 80"),
        ({"cluster_port": 10099}, "vllm_cluster_port is 10099"),
        ({"cluster": {"one": "10.9.0.4", "two": "10.9.0.2"}}, "one is 10.9.0.4, which is no address of this node"),
        ({"tensor_parallel": 4, "pipeline_parallel": 1}, "would share each layer between nodes"),
        ({"pipeline_parallel": 3, "tensor_parallel": 2}, "2 on each of 2 nodes"),
        ({"extra_args": ["--nnodes=2"]}, "which the role sets itself"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_refused(machine: Machine, changes: dict[str, Any], said: str) -> None:
    found = define(machine, **changes)
    assert found.service is None
    assert [text for text in found.problems if said in text], found.problems


def spread(machine: Machine, size: int) -> None:
    """Weights in all layers alike, as a file with a true header and a hole."""
    each = size // 36 // 4 * 4
    tensors = {
        f"model.layers.{at}.x": {"dtype": "I32", "shape": [each // 4], "data_offsets": [at * each, (at + 1) * each]}
        for at in range(36)
    }
    head = json.dumps(tensors).encode()
    with (machine.root / MODEL[1:] / "model.safetensors").open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        out.truncate(8 + len(head) + 36 * each)


def test_a_model_that_outgrows_one_node_fits_two(machine: Machine) -> None:
    spread(machine, 80 << 30)
    assert "vllm_context" in str(machine.define(cards=2).problems)
    assert define(machine).problems == []


def node(address: str, cards: int = 2, mark: str = "mi50-a", alive: bool = True) -> dict[str, Any]:
    return {"NodeManagerAddress": address, "Alive": alive, "Resources": {"GPU": float(cards), mark: 1.0}}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("10.9.0.1"), node("10.9.0.2")], []),
        ([node("10.9.0.1")], ["10.9.0.2 has not joined"]),
        ([node("10.9.0.1"), node("10.9.0.2", alive=False)], ["10.9.0.2 has not joined"]),
        ([node("10.9.0.1"), node("10.9.0.2", alive=False), node("10.9.0.2")], []),
        ([node("10.9.0.1"), node("10.9.0.2", mark="mi50-b")], ["10.9.0.2 was set up with another image"]),
        ([node("10.9.0.1"), node("10.9.0.2", cards=1)], ["10.9.0.2 has 1 cards, 2 are needed"]),
        ([node("10.9.0.1"), node("10.9.0.2"), node("10.9.0.3")], ["10.9.0.3 is none of the cluster"]),
    ],
    ids=["whole", "missing", "dead", "back", "other", "cards", "stranger"],
)
def test_what_a_cluster_lacks(nodes: list[dict[str, Any]], said: list[str]) -> None:
    found = mi50_cluster.lacking(nodes, ["10.9.0.1", "10.9.0.2"], "mi50-a", 2)
    assert [text.startswith(start) for text, start in zip(found, said)] == [True] * len(said)
    assert len(found) == len(said)


def test_a_node_is_known_by_image_model_and_its_configuration(tmp_path: Path) -> None:
    found = set()
    for mark, name, config in (("a", "m", "{}"), ("b", "m", "{}"), ("a", "n", "{}"), ("a", "m", "{ }")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(config)
        found.add(mi50_cluster.resource(mark, tmp_path / name))
    assert len(found) == 4


def given(tmp_path: Path, role: str) -> Any:
    (tmp_path / "config.json").write_text("{}")
    several = cluster.Cluster(("127.0.0.1", "127.0.0.2"), "127.0.0.1" if role == "lead" else "127.0.0.2", 7000)
    words = cluster.command(several, 2, "a", str(tmp_path), ["vllm", "serve", "--x", "1"])
    assert words[:3] == ["python3", "/mi50/mi50_cluster.py", role]
    return mi50_cluster.arguments(words[2:])


def test_commands_of_ray(tmp_path: Path) -> None:
    lead = given(tmp_path, "lead")
    assert lead.command == ["vllm", "serve", "--x", "1"]
    words = mi50_cluster.start(lead)
    assert words[-5:] == ["--head", "--port", "7000", "--include-dashboard", "false"]
    words = mi50_cluster.start(given(tmp_path, "join"))
    assert words[-3:] == ["--address", "127.0.0.1:7000", "--block"]
    assert words[words.index("--num-gpus") + 1] == "2"


def test_the_interface_is_the_one_with_the_address(tmp_path: Path) -> None:
    found = mi50_cluster.environment(given(tmp_path, "lead"))
    assert (found["NCCL_SOCKET_IFNAME"], found["RAY_ADDRESS"]) == ("lo", "127.0.0.1:7000")
    with pytest.raises(SystemExit, match=r"no interface of this node has the address 192\.0\.2\.77"):
        mi50_cluster.interface("192.0.2.77")


def test_waiting_is_said_once_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    looks = iter([["a"], ["a"], ["b"], []])
    mi50_cluster.wait(lambda: next(looks), sleep=lambda _seconds: None)
    assert capsys.readouterr().out.splitlines() == ["mi50_cluster: waiting: a", "mi50_cluster: waiting: b"]


def test_a_node_that_lends_its_cards_is_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head, socket.create_server(("127.0.0.1", 0)) as own:
        ports = [one.getsockname()[1] for one in (own, head)]
        config: dict[str, Any] = {"kind": "ray", "url": "ray://127.0.0.1:{}/127.0.0.1:{}".format(*ports)}
        config |= {"live_timeout": 2.0, "software": False, "expected_vram": 0, "gpus": [], "floor": 0.0, "model": "m"}
        answer = probe.look(config, completion=True)
        assert answer
        assert answer.tokens == 0
        own.close()
        with pytest.raises(probe.Fault, match="Ray does not run here") as caught:
            probe.live(config)
        assert caught.value.state == "down"
        head.close()
        with pytest.raises(probe.Fault, match="the head of vllm_cluster does not answer") as caught:
            probe.live(config)
        assert caught.value.state == "loading"
