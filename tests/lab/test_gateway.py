"""Issue 11, "Shows" 1: nodes are rebuilt one after the other behind the gateway, and no client notices; one dies.

Real: HAProxy of the distribution on node1, site.yml, four times llama-server with a small model on the processor. The
cards are simulated, so nothing is said of speeds.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import engine, nodes, site
from lab.__main__ import up
from lab.engines import units
from lab.settings import NETWORK, Settings, from_environment
from tests.lab.load import Load

pytestmark = [pytest.mark.lab, pytest.mark.long]
NODES = [f"node{number}" for number in range(1, 5)]
SERVERS = {f"{name}-llama_cpp" for name in NODES}
GROUP = "mi50_gateway:\n  hosts:\n    node1: {}\n"
STARTED = "systemctl show mi50-llama_cpp -p ActiveEnterTimestampMonotonic"
SESSIONS = """
import socket, sys
one = socket.socket(socket.AF_UNIX)
one.connect("/run/mi50-gateway/master.sock")
one.sendall(b"@1 show stat\\n")
one.shutdown(socket.SHUT_WR)
text = b""
while more := one.recv(65536):
    text += more
rows = [row.split(",") for row in text.decode().splitlines()]
print(sum(int(row[4]) for row in rows if row[:2] == ["model-smollm2", sys.argv[1]]))
"""


@dataclasses.dataclass
class Rack:
    """Four nodes that serve one model, and how they are reached."""

    settings: Settings
    inventory: Path
    options: dict[str, Any]

    def play(self, *arguments: str, playbook: str = "site.yml", **options: Any) -> site.Result:
        given = json.dumps({**self.options, **options})
        return site.run(
            self.settings, ["-i", str(self.inventory), "-e", given, *arguments], playbook=playbook, quiet=True
        )

    def run(self, node: str, *command: str) -> str:
        return engine.docker("exec", nodes.container(node), *command).stdout.strip()

    def load(self, clients: int, tokens: int) -> Load:
        address = f"{engine.address(nodes.container('node1'), NETWORK)}:8800"
        return Load(
            address, self.run("node1", "cat", "/etc/mi50-aipc/keys/gateway/default"), "smollm2", clients, tokens
        )

    def sessions(self, server: str) -> int:
        """Streams that HAProxy has with a server at this moment."""
        return int(self.run("node1", "python3", "-c", SESSIONS, server))


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Four nodes that site.yml has made, with the gateway on the first."""
    settings = dataclasses.replace(from_environment(), nodes=4, cards=("one-mi50",))
    if engine.running():
        for name in settings.node_names():
            nodes.remove(name)
    up(settings)
    found = units.provide(settings)
    inventory = tmp_path_factory.mktemp("gateway") / "gateway.yml"
    inventory.write_text(GROUP)
    options = {
        "mi50_engines": ["llama_cpp"],
        "llama_cpp_model": f"{found['models']}/SmolLM2-135M-Instruct.Q4_1.gguf",
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_parallel": 2,
        "llama_cpp_root": found["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_extra_args": ["-t", "1", "-dev", "none"],
        "llama_cpp_bind": "{{ ansible_host }}",
        "gateway_bind": "{{ ansible_host }}",
        "gateway_check_interval": 1,
    }
    made = Rack(settings, inventory, options)
    first = made.play()
    assert first.returncode == 0, first.why
    yield made
    for name in settings.node_names():
        nodes.remove(name)


def test_a_rolling_rebuild_costs_no_stream(rack: Rack) -> None:
    before = {name: rack.run(name, *STARTED.split()) for name in NODES}
    with rack.load(clients=4, tokens=24) as load:
        load.until(lambda: load.served() == SERVERS, 120)
        # Another context: every engine has to be started anew.
        done = rack.play("-e", "mi50_serial=1", llama_cpp_context=1152)
        assert done.returncode == 0, done.why
        rebuilt = time.monotonic()
        load.until(lambda: load.served(rebuilt) == SERVERS, 120)
    print(f"\nrolling rebuild in {done.seconds:.0f} s: {load.told()}")
    after = {name: rack.run(name, *STARTED.split()) for name in NODES}
    assert [name for name in NODES if before[name] == after[name]] == []
    drained = done.output.partition("Take the node out of the gateway")[2]
    assert [name for name in NODES if not re.search(rf"changed: \[{name}( -> \S+)?\] => \(item=node1\)", drained)] == []
    assert (load.failed, load.cut) == ([], [])
    assert len(load.ended) >= 20


def test_who_is_finished_is_not_taken_out(rack: Rack) -> None:
    done = rack.play(llama_cpp_context=1152)
    assert done.returncode == 0, done.why
    assert {name: done.recap[name]["changed"] for name in NODES} == dict.fromkeys(NODES, 0)
    assert "Take the node out of the gateway" not in done.output


def test_a_node_is_taken_out_and_back_by_hand(rack: Rack) -> None:
    out = rack.play("--limit", "node2", playbook="playbooks/drain.yml")
    assert out.returncode == 0, out.why
    with rack.load(clients=4, tokens=8) as load:
        load.until(lambda: load.served() == SERVERS - {"node2-llama_cpp"} and len(load.ended) >= 12, 120)
        back = rack.play("--limit", "node2", playbook="playbooks/ready.yml")
        assert back.returncode == 0, back.why
        load.until(lambda: load.served() == SERVERS, 120)
    assert (load.failed, load.cut) == ([], [])


def test_a_node_that_dies_costs_its_own_streams_alone(rack: Rack) -> None:
    dies = "node3"
    with rack.load(clients=8, tokens=96) as load:
        load.until(lambda: rack.sessions(f"{dies}-llama_cpp") > 0 and len(load.ended) >= 8, 180)
        flying = rack.sessions(f"{dies}-llama_cpp")
        engine.docker("kill", nodes.container(dies))
        killed = time.monotonic()
        load.until(lambda: load.served(killed) == SERVERS - {f"{dies}-llama_cpp"}, 180)
        load.until(lambda: time.monotonic() > killed + 45, 60)  # what hangs on a dead node ends after half a minute
    print(f"\n{flying} streams with {dies} when it died, {len(load.cut)} cut, {len(load.failed)} failed: {load.told()}")
    lost = [*load.cut, *load.failed]
    assert 1 <= len(lost) <= flying, lost
    assert [one for one in lost if one.begin > killed] == []
    assert {one.server for one in load.cut} <= {f"{dies}-llama_cpp"}
