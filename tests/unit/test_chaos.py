"""The plan of a chaos run follows from its seed; what it says of nodes afterwards is what they showed."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import chaos, chaos_kinds, chaos_plan, fleet_page, intact
from lab.settings import Settings

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


END = ("changed", "verified", "left", "compared", "differs")


def test_a_seed_is_a_plan() -> None:
    assert chaos_plan.plan(1, NODES) == chaos_plan.plan(1, NODES)
    assert chaos_plan.plan(1, NODES) != chaos_plan.plan(2, NODES)


def test_everything_happens_once_and_the_controller_dies_last() -> None:
    for seed in range(50):
        events = chaos_plan.plan(seed, NODES)
        assert sorted(event.kind for event in events) == sorted(chaos_kinds.KINDS)
        places = [chaos_plan.PLACES.index(event.place) for event in events[:-1]]
        assert places == sorted(places)
        assert [event.kind for event in events[-2:]] == ["mirror", "controller"]
        struck = [event.node for event in events if event.node]
        assert len(set(struck)) == len(struck) == len(chaos_kinds.OF_A_NODE)
        assert all(chaos_plan.MOMENT <= event.after <= chaos_plan.LATEST for event in events[:-1])
        assert (events[-1].place, 0 < events[-1].after <= chaos_plan.GAP) == ("", True)
    assert {event.place for seed in range(50) for event in chaos_plan.plan(seed, NODES)} == {"", *chaos_plan.PLACES}


def test_things_happen_in_tasks_that_there_are() -> None:
    """A task of another name would never be reached."""
    text = "".join(path.read_text() for path in Path("roles").glob("*/tasks/*.yml"))
    for place in chaos_plan.PLACES:
        assert text.count(f"- name: {place}\n") == 1, place


# A first run: every task, and the seconds until its fastest node has answered.
FIRST = [("Check", 5.0), *((f"Look {n}", 0.1) for n in range(9)), (chaos_plan.PLACES[0], 8.0), ("Say", 0.1)]
FIRST += [(chaos_plan.PLACES[1], 35.0), ("Link", 0.3), (chaos_plan.PLACES[2], 4.0), (chaos_plan.PLACES[3], 20.0)]
FIRST += [("Hand on", 0.1), (chaos_plan.PLACES[4], 15.0), ("Compute", 6.0), *((f"Have {n}", 0.1) for n in range(9))]


def simulated(events: list[chaos_plan.Event], speed: float, step: float) -> list[tuple[str, str]]:
    """What happens, and in which task, in a run without the struck nodes that ends 3 s after the mirror."""
    said, now, away, rest, happened = "", 0.0, 0.0, list(events), []
    watch, lost = chaos_plan.Watch(), set[str]()
    for task, seconds in FIRST:
        said += f"\nTASK [role : {task}] ***\n"
        out = set(lost)
        for turn, name in enumerate(NODES):
            # One after the other, as on a machine with few cores.
            end = now + (seconds if turn == 0 else 0.1 * seconds) / speed
            while now < end and away < 3.0:
                now += step
                away += step if "mirror" in lost else 0.0
                if rest and watch.due(rest[0], said, now):
                    watch.struck(now)
                    happened.append((rest[0].kind, task))
                    if rest[0].kind == "controller":
                        return happened
                    lost.add(rest.pop(0).node or "mirror")
            if name not in out:
                said += f"{'fatal' if name in lost or away >= 3.0 else 'ok'}: [{name}]\n"
        if away >= 3.0:
            break
    return happened


@pytest.mark.parametrize("speed", [0.1, 1.0, 2.5])
def test_all_of_it_happens_in_a_fast_run_and_in_a_slow_one(speed: float) -> None:
    for seed in range(40):
        events = chaos_plan.plan(seed, NODES)
        happened = simulated(events, speed, 0.2 if speed >= 1 else 1.0)
        assert [kind for kind, dummy in happened] == [event.kind for event in events], (seed, happened)
        assert all(dict(FIRST)[task] / speed > 1 for dummy, task in happened), (seed, happened)


def test_a_node_that_has_left_is_waited_for_no_longer() -> None:
    event = chaos_plan.Event(chaos_plan.PLACES[1], 3.0, "kill", "node2")
    before, begun = "\nTASK [Other] ***\nok: [node1]\n", f"\nTASK [rocm : {chaos_plan.PLACES[1]}] ***\n"
    watch = chaos_plan.Watch()
    assert not watch.due(event, f"{before}fatal: [node2]: UNREACHABLE!\n", 1.0)
    assert not watch.due(event, f"{before}{begun}", 2.0) and not watch.due(event, f"{before}{begun}", 4.9)
    assert watch.due(event, f"{before}{begun}", 5.1)
    assert not watch.due(event, f"{before}{begun}ok: [node2]\n", 5.1)
    assert watch.due(event, f"{before}{begun}fatal: [node2]: UNREACHABLE!\n", 2.1)
    # Its place went by too fast: the next moment will do.
    later = f"{before}{begun}ok: [node2]\n\nTASK [Next] ***\n"
    assert not watch.due(event, later, 6.0) and watch.due(event, later, 6.0 + chaos_plan.MOMENT)


def test_fewer_nodes_take_turns_but_the_small_disk_survives() -> None:
    for seed in range(20):
        to = {event.kind: event.node for event in chaos_plan.plan(seed, NODES[:2])}
        assert to["kill"] == to["restart"] == to["ssh"] != to["disk"]
        assert to["mirror"] == to["controller"] == ""
    assert [event.node for event in chaos_plan.plan(3, NODES[:1], ["kill", "ssh"])] == ["node1", "node1"]


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
    assert [name for name in NODES if chaos_plan.at_work(LOG, name)] == ["node4", "node5", "node6", "node7", "node8"]
    assert chaos_plan.at_work(LOG, "")
    ended = f"{LOG}changed: [node4]\n"
    assert not chaos_plan.at_work(ended, "node4") and not chaos_plan.at_work(ended, "")
    following = f"{ended}\nTASK [Fetch] ***\n"
    assert [name for name in NODES[:4] if chaos_plan.at_work(following, name)] == ["node1", "node4"]
    assert not chaos_plan.at_work("", "node1")


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
    assert fleet_page.settled(record)
    for name, value in (("changed", 1), ("changed", -1), ("left", "x"), ("verified", "exit 2"), ("differs", "x")):
        assert not fleet_page.settled({**record, name: value})


def a_round(seed: int, missed: tuple[str, ...] = (), **more: object) -> dict[str, Any]:
    events = []
    for turn, event in enumerate(chaos_plan.plan(seed, NODES)):
        happened = {"struck": 40.2 + turn, "task": "T", "outcome": "O"}
        row = {"task": "", "outcome": fleet_page.MISSED} if event.kind in missed else happened
        events.append({**dataclasses.asdict(event), **row})
    record = {"seed": seed, "nodes": 8, "date": "2026-11-23", "events": events, "re_runs": [61.4], "changed": 0}
    record.update(verified="every node works", left="nothing", compared=3, differs="no difference")
    return {**record, **more}


def test_the_page_has_a_line_for_each_misfortune() -> None:
    lines = fleet_page.chaos(a_round(906))
    assert len([line for line in lines if line.endswith("| T | O |")]) == len(chaos_kinds.KINDS)
    assert "| 40 | " in "".join(lines)
    assert lines[-1].startswith("Re-runs until all succeeded: 1 (61 s). The run after that: changed=0. `playbooks/")
    assert lines[-1].endswith("(3 paths): no difference.")


def test_the_newest_whole_round_comes_first_and_the_others_take_a_line() -> None:
    found = {"chaos-1-8": a_round(1, time="2026-11-23 10:00"), "chaos-2-8": a_round(2, time="2026-11-24 10:00")}
    # Newer than both: not whole, or something is left of it.
    found["chaos-3-8"] = a_round(3, ("disk",), time="2026-11-25 10:00")
    found["chaos-4-8"] = a_round(4, time="2026-11-26 10:00", left="a lock")
    page = fleet_page.tables(found)
    assert [line for line in page.splitlines() if line.startswith("Chaos")] == [
        "Chaos with seed 2, 8 nodes, 2026-11-23:"
    ]
    rows = [line for line in page.splitlines() if line.startswith("| 2026")]
    assert [row.split(" | ")[1] for row in rows] == ["4", "3", "1"]
    assert "left half-done: a lock" in rows[0] and "disk" not in rows[1] and "disk" in rows[2]
    assert "Other rounds" not in fleet_page.tables({"chaos-1-8": found["chaos-1-8"]})


@pytest.mark.parametrize(("missed", "code", "kept"), [((), 0, True), (("kill",), chaos.NOT_WHOLE, False)])
def test_a_round_that_did_not_happen_is_no_proof(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missed: tuple[str, ...],
    code: int,
    kept: bool,
) -> None:
    record = a_round(5, missed)
    monkeypatch.setattr(chaos.depot, "light", lambda _: {})
    monkeypatch.setattr(chaos_kinds, "fresh", lambda *_: None)
    monkeypatch.setattr(chaos_kinds, "heal", lambda *_: None)
    monkeypatch.setattr(chaos, "strike", lambda *_: record["events"])
    monkeypatch.setattr(chaos, "mend", lambda *_: record["re_runs"])
    monkeypatch.setattr(chaos, "check", lambda *_, **__: {name: record[name] for name in END})
    output = tmp_path / "runs.json"
    settings = Settings(root=Path.cwd(), cache=tmp_path, nodes=8)
    assert chaos.main(settings, ["--seed", "5", "--output", str(output)], lambda _: None) == code
    assert output.exists() is kept
    assert ("kill did not happen" in "".join(capsys.readouterr())) is not kept
