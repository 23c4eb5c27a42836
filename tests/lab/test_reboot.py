"""Issue 9, "Shows" 4: the reboot play against containers that really restart, with their device files anew."""

from __future__ import annotations

import time

import pytest

from lab import engine, nodes, site
from tests.lab.conftest import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long]


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
