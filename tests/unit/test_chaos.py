"""The plan of a chaos run follows from its seed."""

from __future__ import annotations

from lab import chaos

NODES = [f"node{number}" for number in range(1, 9)]


def test_a_seed_is_a_plan() -> None:
    assert chaos.plan(1, NODES) == chaos.plan(1, NODES)
    assert chaos.plan(1, NODES) != chaos.plan(2, NODES)


def test_everything_happens_once_and_the_controller_dies_last() -> None:
    for seed in range(50):
        events = chaos.plan(seed, NODES)
        assert sorted(event.kind for event in events) == sorted(chaos.KINDS)
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert events[-1].kind == "controller"
        assert len({event.node for event in events}) == len(events)
        assert events[0].at >= 4 and events[-1].at <= chaos.WINDOW


def test_fewer_nodes_take_turns() -> None:
    events = chaos.plan(3, NODES[:2], ["kill", "ssh", "disk"])
    assert {event.node for event in events} == {"node1", "node2"}
    assert len(events) == 3
