"""What is read from a node, on trees of files."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from mi50.verify.collect import Roots, collect, read_agents, read_listeners, read_loader, read_settings
from mi50.verify.model import Listener, Setting

import lab.sysfs

ROCMINFO = """HSA Agents
Agent 1
  Name:                    AMD EPYC
Agent 2
  Name:                    gfx906
  ISA Info:
    ISA 1
      Name:                    amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:A1B2 0100007F:1F40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
"""
TCP6 = """  sl  local_address rem_address st
   0: 00000000000000000000000001000000:2CAA 00000000000000000000000000000000:0000 0A 0 0 0 0 0 4
"""


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def never(_command: list[str]) -> tuple[int, str]:
    raise AssertionError("a program was started")


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Two cards as the lab simulates them, on an otherwise empty system."""
    lab.sysfs.build(tmp_path / "tree", "two-mi50")
    tree = tmp_path / "tree"
    return Roots(tmp_path, tree / "sys" if (tree / "sys").is_dir() else tree, tmp_path / "proc", tmp_path / "dev")


def test_live_values_of_two_cards(roots: Roots) -> None:
    (roots.root / "dev").mkdir()
    (roots.root / "dev/kfd").touch()
    seen = collect(roots, "6.4.3", {}, never)
    assert seen.kfd_device
    assert len(seen.cards) == len(seen.gfx906) == 2
    for card in seen.cards:
        assert set(card.temperatures) == {"edge", "junction", "mem"}
        assert all(value and 20 < value < 90 for value in card.temperatures.values())
        assert all(limit and limit > 90 for limit in card.limits.values())
        assert card.errors == 0
    assert (seen.link, seen.agents, seen.listeners) == (None, None, None)
    assert "rocminfo is not there" in seen.agents_error


def test_an_unreadable_sensor_is_none_and_no_crash(roots: Roots) -> None:
    for path in roots.sysfs.rglob("temp2_input"):
        path.write_text("n/a\n")
    assert [card.temperatures["junction"] for card in collect(roots, "6.4.3", {}, never).cards] == [None, None]


def test_the_link_is_followed_through_alternatives(roots: Roots) -> None:
    (roots.root / "opt/rocm-6.4.3").mkdir(parents=True)
    (roots.root / "etc/alternatives").mkdir(parents=True)
    (roots.root / "etc/alternatives/rocm").symlink_to("/opt/rocm-6.4.3")
    (roots.root / "opt/rocm").symlink_to("/etc/alternatives/rocm")
    assert collect(roots, "6.4.3", {}, never).link == "/opt/rocm-6.4.3"
    (roots.root / "opt/rocm-6.4.3").rmdir()
    assert collect(roots, "6.4.3", {}, never).link is None


def test_a_loop_of_links_leads_nowhere(roots: Roots) -> None:
    (roots.root / "opt").mkdir()
    (roots.root / "opt/rocm").symlink_to("/opt/rocm")
    assert collect(roots, "6.4.3", {}, never).link is None


def test_settings_of_every_place_but_no_comments(tmp_path: Path) -> None:
    write(tmp_path, "etc/environment", 'PATH="/usr/bin"\nHSA_OVERRIDE_GFX_VERSION=9.0.6\n')
    write(tmp_path, "etc/profile.d/x.sh", "# export HIP_VISIBLE_DEVICES=1\nexport ROCR_VISIBLE_DEVICES='0,1'\n")
    write(tmp_path, "etc/systemd/system/a.service.d/o.conf", '[Service]\nEnvironment="HIP_VISIBLE_DEVICES=0" "X=1"\n')
    assert list(read_settings(tmp_path)) == [
        Setting("/etc/environment", "HSA_OVERRIDE_GFX_VERSION", "9.0.6"),
        Setting("/etc/profile.d/x.sh", "ROCR_VISIBLE_DEVICES", "0,1"),
        Setting("/etc/systemd/system/a.service.d/o.conf", "HIP_VISIBLE_DEVICES", "0"),
    ]


def test_loader(tmp_path: Path) -> None:
    write(tmp_path, "etc/ld.so.conf.d/a.conf", "# x\n/opt/rocm-6.4.3/lib\n")
    assert list(read_loader(tmp_path)) == ["/opt/rocm-6.4.3/lib"]


def test_agents(tmp_path: Path) -> None:
    program = write(tmp_path, "rocminfo", "")
    assert read_agents(program, lambda _command: (0, ROCMINFO)) == (("gfx906",), "")
    found, why = read_agents(program, lambda _command: (1, "Unable to open /dev/kfd read-write\n"))
    assert found is None
    assert "ends with 1: Unable to open /dev/kfd" in why


def test_listeners_of_both_families_and_no_connections(tmp_path: Path) -> None:
    assert read_listeners(tmp_path) is None
    write(tmp_path, "net/tcp", TCP)
    write(tmp_path, "net/tcp6", TCP6)
    any_address = str(IPv4Address(0))
    expected = (Listener("127.0.0.1", 8000), Listener(any_address, 22), Listener("::1", 11434))
    assert read_listeners(tmp_path) == expected


def test_what_a_reader_stumbles_over_costs_its_own_part_alone(roots: Roots) -> None:
    """A line of /proc/net/tcp as no kernel ever wrote it: the ports are unknown, everything else is as it was."""
    before = collect(roots, "6.4.3", {}, never)
    assert before.unread == {}
    write(roots.root, "proc/net/tcp", TCP.replace("0100007F:1F40 00000000:0000 0A", "here:1F40 00000000:0000 0A"))
    seen = collect(roots, "6.4.3", {}, never)
    assert list(seen.unread) == ["listeners"]
    assert seen.unread["listeners"].startswith("ValueError: invalid literal for int() with base 16: 'here' (collect.py")
    assert seen.cards == before.cards
