"""The plan of a chaos run follows from its seed; what it says of nodes afterwards is what they showed."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from lab import chaos, chaos_kinds, fleet_page, intact

NODES = [f"node{number}" for number in range(1, 9)]
LOG = """
TASK [preflight : Check the inventory and the host] ***************************
ok: [node1]
ok: [node2]
ok: [node3]
ok: [node4]

TASK [Install packages] *******************************************************
changed: [node1]
fatal: [node2]: UNREACHABLE! => {"msg": "gone"}
fatal: [node3]: FAILED! => {"msg": "No space left on device"}
"""
RECAP = """
PLAY RECAP *********************************************************************
node1                      : ok=2    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
"""


def test_a_seed_is_a_plan() -> None:
    assert chaos.plan(1, NODES) == chaos.plan(1, NODES)
    assert chaos.plan(1, NODES) != chaos.plan(2, NODES)


def test_everything_happens_once_and_the_controller_dies_last() -> None:
    for seed in range(50):
        events = chaos.plan(seed, NODES)
        assert sorted(event.kind for event in events) == sorted(chaos_kinds.KINDS)
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert events[-1].kind == "controller"
        struck = [event.node for event in events if event.node]
        assert len(set(struck)) == len(struck) == len(chaos_kinds.OF_A_NODE)
        assert events[0].at >= 4 and events[-1].at <= chaos.window(len(NODES))


def test_fewer_nodes_take_turns_but_the_small_disk_survives() -> None:
    for seed in range(20):
        to = {event.kind: event.node for event in chaos.plan(seed, NODES[:2])}
        assert to["kill"] == to["restart"] == to["ssh"] != to["disk"]
        assert to["mirror"] == to["controller"] == ""
    assert [event.node for event in chaos.plan(3, NODES[:1], ["kill", "ssh"])] == ["node1", "node1"]


def test_how_a_run_ended_for_each_node() -> None:
    ended = {node: chaos.outcome(LOG, node) for node in ("node1", "node2", "node3", "node4")}
    first = "went on to 'Check the inventory and the host', then cut short"
    assert ended == {
        "node1": "went on to 'Install packages', then cut short",
        "node2": "unreachable in 'Install packages'",
        "node3": "failed in 'Install packages'",
        "node4": first,
    }
    assert chaos.outcome(LOG + RECAP, "node1") == "went through"
    assert chaos.outcome("", "") == "nobody had begun"
    assert first in chaos.outcome(LOG, "") and "1 failed in 'Install packages'" in chaos.outcome(LOG, "")


def test_only_what_a_node_did_after_it_was_struck_counts() -> None:
    middle = LOG.index("TASK [Install")
    assert chaos.outcome(LOG, "node1", middle) == "went on to 'Install packages', then cut short"
    assert chaos.outcome(LOG, "node4", middle) == "cut short"
    assert chaos.outcome(LOG, "node3", len(LOG)) == "failed in 'Install packages', before this"


def test_a_node_is_struck_while_it_works() -> None:
    """node4 has not answered yet, the others have or are out of the run."""
    assert [name for name in NODES if chaos.at_work(LOG, name)] == ["node4", "node5", "node6", "node7", "node8"]
    assert chaos.at_work(LOG, "")
    ended = f"{LOG}changed: [node4]\n"
    assert not chaos.at_work(ended, "node4") and not chaos.at_work(ended, "")
    following = f"{ended}\nTASK [Fetch] ***\n"
    assert [name for name in NODES[:4] if chaos.at_work(following, name)] == ["node1", "node4"]
    assert not chaos.at_work("", "node1")


def listed(*lines: str) -> dict[str, intact.Entry]:
    return intact.parse("".join(f"{line}\n" for line in lines))


def test_what_is_missing_other_or_left_over_is_said() -> None:
    untouched = listed("/opt/a\tf\t644\t10", "/etc/mi50.conf\tf\t644\t5", "/etc/hostname\tf\t644\t6")
    assert intact.compare(untouched, untouched) == []
    # A name of its own, and a compiler's settings, are no damage.
    more = {**untouched, **listed("/etc/hostname\tf\t644\t7", "/etc/gcc.conf\tf\t644\t1")}
    assert intact.compare(more, untouched) == []
    assert intact.compare({}, untouched) == ["/etc/mi50.conf: missing", "/opt/a: missing"]
    half = {**untouched, **listed("/opt/a\tf\t644\t4")}
    assert intact.compare(half, untouched) == ["/opt/a: f 644 4, elsewhere f 644 10"]
    for path in ("/opt/b", "/etc/.mi50.conf.x1", "/var/cache/mi50-aipc/x.part"):
        assert intact.compare({**untouched, **listed(f"{path}\tf\t600\t1")}, untouched) == [f"{path}: left over"]


@pytest.mark.parametrize(("other", "same"), [('{"s": 0.25, "ino": 7, "is": "good"}', True), ('{"is": "bad"}', False)])
def test_records_may_differ_in_their_numbers_alone(tmp_path: Path, other: str, same: bool) -> None:
    """Found in a round on 8 nodes: a duration of one digit less is no damage."""
    found = []
    for name, text in (("a", '{"s": 1.5e-07, "ino": 123456, "is": "good"}'), ("b", other)):
        place = tmp_path / name / "root/opt"
        place.mkdir(parents=True)
        (place / ".mi50-proof.json").write_text(text)
        command = intact.LISTING.replace(intact.FOLDERS, str(place))
        said = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
        found.append(intact.parse(said.replace(str(place), "/opt")))
    assert (intact.compare(*found) == []) is same, found


def test_a_round_is_settled_only_when_all_of_it_is() -> None:
    record = {"changed": 0, "left": "nothing", "verified": "every node works", "differs": "no difference"}
    assert chaos.settled(record)
    for name, value in (("changed", 1), ("changed", -1), ("left", "x"), ("verified", "exit 2"), ("differs", "x")):
        assert not chaos.settled({**record, name: value})


def test_the_page_has_a_line_for_each_misfortune() -> None:
    events = [{**dataclasses.asdict(event), "task": "T", "outcome": "O"} for event in chaos.plan(906, NODES)]
    record = {"seed": 906, "nodes": 8, "date": "2026-11-23", "events": events, "re_runs": [61.4]}
    record.update(changed=0, verified="every node works", left="nothing", compared=3, differs="no difference")
    lines = fleet_page.chaos(record)
    assert len([line for line in lines if line.endswith("| T | O |")]) == len(events)
    assert "Re-runs until all succeeded: 1 (61 s)." in lines[-1] and "(3 paths): no difference" in lines[-1]
