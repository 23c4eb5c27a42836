"""Issue 9, "Shows" 4: the reboot play against containers that really restart, with their device files anew.

Behind the gateway serve stand-ins: what is looked at is the order of draining, rebooting and taking back.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import engine, nodes, site
from lab.settings import NETWORK
from tests.lab.conftest import Lab
from tests.lab.load import Load

pytestmark = [pytest.mark.lab, pytest.mark.long]
STANDIN = Path(__file__).resolve().parents[2] / "lab/standins/standin_openai"
UNIT = """[Service]
ExecStart=/usr/local/bin/standin_openai 8102 0.0.0.0
[Install]
WantedBy=multi-user.target
"""
Play = Callable[..., site.Result]


def started(node: str) -> str:
    found = engine.inspect(nodes.container(node))
    return str(found["State"]["StartedAt"]) if found else ""


def reboot(lab: Lab, *arguments: str) -> site.Result:
    return site.run(lab.settings, list(arguments), playbook="playbooks/reboot.yml", quiet=True)


def due(lab: Lab, *names: str) -> None:
    for name in names:
        lab.ssh(name, "echo linux-image-amd64 >/run/reboot-required.pkgs; touch /run/reboot-required")


def test_never_says_why_and_what_to_run(lab: Lab) -> None:
    due(lab, "node1")
    before = started("node1")
    result = reboot(lab, "--limit", "node1,node2")
    assert result.returncode == 0, result.output[-3000:]
    assert "node1 needs a reboot: the distribution asks for it" in " ".join(result.output.split())
    assert "-e mi50_reboot=auto" in result.output
    assert "node2 needs a reboot" not in result.output
    assert started("node1") == before


def test_auto_restarts_the_nodes_that_need_it_and_proves_their_cards(lab: Lab) -> None:
    due(lab, "node2")
    before = {name: started(name) for name in ("node1", "node2", "node3")}
    lab.ssh("node2", "touch /dev/kfd-of-this-boot")
    begin = time.monotonic()
    result = reboot(lab, "-e", "mi50_reboot=auto", "--limit", "node2,node3")
    assert result.returncode == 0, result.output[-3000:]
    said = " ".join(result.output.split())
    assert "node2 is back: 2 of 2 cards, kernel" in said and "driver host" in said
    print(f"node2 was away and proven within {time.monotonic() - begin:.1f} s")
    assert started("node2") != before["node2"] and started("node3") == before["node3"]
    there = lab.ssh("node2", "ls /dev/kfd /dev/kfd-of-this-boot /run/reboot-required 2>/dev/null; true")
    assert there.split() == ["/dev/kfd"]


def serve(lab: Lab, name: str) -> str:
    """Have a stand-in serve on a node from now on; returns the node's address."""
    for path, text in (("/usr/local/bin/standin_openai", STANDIN.read_text()),
                       ("/etc/systemd/system/lab-standin.service", UNIT)):  # fmt: skip
        lab.ssh(name, f"printf %s {shlex.quote(text)} >{path}; chmod 755 {path}")
    lab.ssh(name, "systemctl enable --now -q lab-standin")
    return str(engine.address(nodes.container(name), NETWORK))


@pytest.fixture
def gateway(lab: Lab, tmp_path: Path) -> Iterator[Play]:
    """node1 before node2 and node3; what runs playbooks with it."""
    group = tmp_path / "gateway.yml"
    group.write_text("mi50_gateway:\n  hosts:\n    node1: {}\n")
    backends = [
        {"model": "standin", "address": serve(lab, name), "port": 8102, "node": name} for name in ("node2", "node3")
    ]
    options = json.dumps(
        {"gateway_backends": backends, "gateway_bind": "{{ ansible_host }}", "gateway_check_interval": 1}
    )

    def play(name: str, *arguments: str) -> site.Result:
        given = ["-i", str(group), "-e", options, *arguments]
        return site.run(lab.settings, given, playbook=f"playbooks/{name}.yml", quiet=True)

    made = play("gateway")
    assert made.returncode == 0, made.why
    yield play
    play("gateway", "-e", "gateway_state=absent", "-e", "mi50_uninstall=true")
    for name in ("node2", "node3"):
        lab.ssh(
            name,
            "systemctl disable --now -q lab-standin; rm /etc/systemd/system/lab-standin.service"
            " /usr/local/bin/standin_openai; systemctl daemon-reload",
        )


def test_behind_a_gateway_streams_end_before_the_node_reboots(lab: Lab, gateway: Play) -> None:
    due(lab, "node2")
    before, both = started("node2"), {"node2-8102", "node3-8102"}
    address = f"{engine.address(nodes.container('node1'), NETWORK)}:8800"
    key = lab.ssh("node1", "cat /etc/mi50-aipc/keys/gateway/default").strip()
    with Load(address, key, "standin", clients=4, tokens=400) as load:
        load.until(lambda: load.served() == both, 60)
        result = gateway("reboot", "-e", "mi50_reboot=auto", "--limit", "node2,node3")
        assert result.returncode == 0, result.why
        back = time.monotonic()
        load.until(lambda: load.served(back) == both, 60)
    print(f"\nrebooted behind the gateway in {result.seconds:.0f} s: {load.told()}")
    assert started("node2") != before
    assert (load.failed, load.cut) == ([], [])


def test_a_node_that_stays_drained_is_told_of(lab: Lab, gateway: Play) -> None:
    words = "node1 sends it nothing: it is drained"
    assert words not in gateway("verify", "--limit", "node3").output
    assert gateway("drain", "--limit", "node3").returncode == 0
    said = " ".join(gateway("verify", "--limit", "node3").output.split())
    assert words in said and "playbooks/ready.yml --limit node3" in said
    assert "gateway: node3 is drained" in " ".join(gateway("gateway").output.split())
    assert gateway("ready", "--limit", "node3").returncode == 0
    assert words not in " ".join(gateway("verify", "--limit", "node3").output.split())


def test_a_node_without_its_cards_stops_the_play(lab: Lab) -> None:
    due(lab, "node1", "node3")
    before = {name: started(name) for name in ("node1", "node3")}
    given = ("-e", "mi50_reboot=auto", "-e", "mi50_expected_gpus=2", "--limit", "node1,node3")
    result = reboot(lab, *given)
    assert result.returncode != 0
    assert "node1 came back with 1 of 2 cards that the driver and KFD know" in " ".join(result.output.split())
    assert started("node1") != before["node1"]
    assert started("node3") == before["node3"], "the next node was rebooted although the first had lost a card"
    lab.ssh("node3", "rm /run/reboot-required")
