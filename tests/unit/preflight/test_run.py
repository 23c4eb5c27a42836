"""One run at a time on a node, one node for each machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mi50.preflight import claim, run

MINE = {"id": "1-2", "name": "node1", "controller": "c 1", "user": "u", "since": 1764000000}


def test_the_first_run_has_the_node_and_the_second_is_told_whose_it_is(tmp_path: Path) -> None:
    assert claim.claim(tmp_path, MINE) is None
    assert claim.claim(tmp_path, MINE) is None, "a second look of the same run"
    other = {**MINE, "id": "3-4", "user": "v"}
    assert claim.claim(tmp_path, other) == MINE
    assert claim.claim(tmp_path, other, take=True) is None
    assert claim.claim(tmp_path, MINE) == other
    assert [path.name for path in (tmp_path / claim.CLAIM).parent.iterdir()] == ["run.lock"]


def test_two_names_of_one_machine_meet_in_one_run(tmp_path: Path) -> None:
    claim.claim(tmp_path, MINE)
    held = claim.claim(tmp_path, {**MINE, "name": "node2"})
    assert held is not None
    check = run.held(held, {**MINE, "name": "node2"})
    assert check.status == "fail" and check.found.startswith("node1 and node2 are one machine")


def test_a_claim_that_cannot_be_read_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / claim.CLAIM).parent.mkdir(parents=True)
    (tmp_path / claim.CLAIM).write_text("half of")
    held = claim.claim(tmp_path, MINE)
    assert held is not None
    check = run.held(held, MINE)
    assert "somebody on another machine has been working on it since an unknown time" in check.found
    assert "-e mi50_take_lock=true" in check.remedy


def test_who_and_since_when_and_the_way_out_are_said() -> None:
    check = run.held({**MINE, "controller": "laptop 9f"}, {**MINE, "id": "5-6"})
    assert check.found == "u on laptop has been working on it since 2025-11-24 16:00 UTC (process 1 there)"


def test_a_run_of_this_machine_that_ended_is_over_and_a_live_or_foreign_one_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        began = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        live = {**MINE, "id": f"{child.pid}-{began}", "controller": run.controller()}
        assert not run.over(live)
        assert run.over({**live, "id": f"{child.pid}-1"}), "its number was given to another process"
        assert not run.over({**live, "controller": "elsewhere 1"})
        child.communicate()
    assert run.over(live)
    assert run.over({**live, "id": None})


def test_one_host_key_is_one_node(tmp_path: Path) -> None:
    assert run.same_key("node1", "ab", tmp_path).status == "ok"
    assert run.same_key("node1", "ab", tmp_path).status == "ok"
    assert run.same_key("node2", "cd", tmp_path).status == "ok"
    check = run.same_key("node3", "ab", tmp_path)
    assert check.status == "fail" and check.found == "node1 and node3 have the same one"


def test_what_was_said_in_runs_that_are_over_is_forgotten(tmp_path: Path) -> None:
    dead = tmp_path / "999999999-1"
    dead.mkdir()
    (dead / "ab").write_text("node9")
    assert run.same_key("node1", "ab", tmp_path).status == "ok"
    assert not dead.exists()


def test_the_host_key_is_read_without_its_comment(tmp_path: Path) -> None:
    folder = tmp_path / "etc/ssh"
    folder.mkdir(parents=True)
    (folder / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA root@a\n")
    first = claim.host_key(tmp_path)
    (folder / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA root@b\n")
    assert first and claim.host_key(tmp_path) == first
    assert claim.host_key(tmp_path / "nowhere") == ""


def test_this_run_describes_itself() -> None:
    mine = run.describe("node1")
    assert json.loads(json.dumps(mine)) == mine
    assert mine["id"].split("-")[0] == str(os.getppid())


@pytest.mark.parametrize("take", [False, True])
def test_where_nothing_can_be_written_nobody_is_in_the_way(tmp_path: Path, take: bool) -> None:
    (tmp_path / "run").write_text("no folder")
    assert claim.claim(tmp_path, MINE, take=take) is None
