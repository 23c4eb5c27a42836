"""One build for several hosts, as their workers see it: elected, followed, failed over, collected, handed on."""

from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from mi50.build import key as keys
from mi50.build.cache import Cache, run_id
from mi50.build.follow import NodeLost, NodeProblem, Order, Pace
from mi50.build.recipe import Recipe
from mi50.build.share import Share, ShareFailed

PARTS = {"os": "debian 12", "glibc": "2.36", "python": "cp311", "machine": "x86_64", "source": "c" * 40}
KEY = keys.digest(PARTS)
WHEEL = "triton-3.5.0+gfx906-cp311-cp311-linux_x86_64.whl"
CONTENT = b"wheel"
JOB = {"source": {"url": "https://host/x", "commit": "c" * 40}, "jobs": 8}
RECIPE = Recipe("triton", "3.5.0+gfx906", JOB, {}, ["g++"], {"job_mib": 1, "disk_mib": 1}, 60, "", [])
RUNNING = {"state": "running"}
FINISHED = {"state": "finished"}
LOG = ["[1/9] Building", "x.cpp:1: error: no"]


def failed(kind: str = "source", text: str = "a command failed") -> dict[str, Any]:
    cause = {"name": "x", "kind": kind, "text": text, "remedy": "read on"}
    return {"state": "failed", "cause": cause, "log": LOG, "unit": "mi50-build-triton-x.service", "folder": "/f"}


class FakeNode:
    """A host that answers `state` from a list; its time passes when its worker sleeps."""

    def __init__(self, name: str, folder: Path, states: list[Any] | None = None) -> None:
        self.name, self.folder = name, folder / name
        self.states = states or [{"state": "nothing"}, RUNNING, FINISHED]
        self.said: list[str] = []
        self.calls: list[str] = []
        self.now = 0.0
        self.peeks: list[Any] = []
        self.held: dict[str, Any] | None = None

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def say(self, text: str) -> None:
        self.said.append(text)

    def job(self, action: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append(action)
        if action == "start":
            return {"state": "running", "attached": False, "again": False, "unit": "mi50-build-triton-x.service"}
        if action == "collect":
            return {"manifest": self.make(arguments["facts"])}
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def make(self, facts: dict[str, Any]) -> dict[str, Any]:
        target = self.folder / KEY
        target.mkdir(parents=True, exist_ok=True)
        (target / WHEEL).write_bytes(CONTENT)
        file = {"name": WHEEL, "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
        return {"name": "triton", "key": KEY, "files": [file], "seconds": 7, "finished": "now", **facts}

    def peek(self, folder: str) -> dict[str, Any] | None:
        return self.peeks.pop(0) if self.peeks else None

    def packages(self, names: list[str]) -> None:
        self.calls.append(f"apt {' '.join(names)}")

    def receive(self, remote: str, local: Path) -> None:
        shutil.copy(remote, local)

    def send(self, local: Path, manifest: dict[str, Any]) -> None:
        assert local.read_bytes() == CONTENT
        self.calls.append("send")
        self.held = manifest


def answer(**changes: Any) -> dict[str, Any]:
    plain = {"key": KEY, "state": "nothing", "held": False, "cores": 8, "memory_mib": 65536, "disk_mib": 9999}
    return {**plain, "work": "/w", **changes}


class Fleet:
    """Hosts with a cache in common."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.cache = Cache(tmp_path / "cache", run_id())
        self.answers = {"node1": answer(), "node2": answer(cores=4)}
        self.nodes = {name: FakeNode(name, tmp_path) for name in self.answers}

    def share(self, name: str) -> Share:
        node = self.nodes[name]
        limits = {"folder": "/w/x", "shelf": str(node.folder)}
        order = Order(RECIPE, KEY, PARTS, JOB, limits, Pace(2, 10, 60))
        return Share(node, self.cache, order, self.answers, 2, node.sleep, node.clock)

    def have(self, name: str) -> dict[str, Any]:
        return self.share(name).have()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_built_on_one_and_handed_to_the_other(fleet: Fleet) -> None:
    first, second = fleet.have("node1"), fleet.have("node2")
    assert (first["from"], second["from"]) == ("built", "cache")
    assert first["manifest"] == second["manifest"] == fleet.nodes["node2"].held
    assert fleet.nodes["node1"].calls == ["state", "apt g++", "start", "state", "state", "collect"]
    assert fleet.nodes["node2"].calls == ["send"]
    assert "built on node1" in fleet.nodes["node2"].said[-1]
    assert fleet.cache.problem(KEY, verify=True) == ""


def test_workers_of_one_run_wait_for_the_elected(fleet: Fleet) -> None:
    # node2's worker comes first and waits in real time for node1's.
    fleet.nodes["node2"].sleep = lambda seconds: threading.Event().wait(0.01)  # type: ignore[assignment,method-assign]
    found: dict[str, Any] = {}
    waits = threading.Thread(target=lambda: found.update(fleet.have("node2")))
    waits.start()
    fleet.have("node1")
    waits.join(10)
    assert found["from"] == "cache"
    assert any("waiting for node1, which builds it" in text for text in fleet.nodes["node2"].said)
    assert [line for line in fleet.nodes["node2"].calls if line != "send"] == []


def test_a_running_build_is_followed_wherever_it_runs(fleet: Fleet) -> None:
    fleet.answers["node2"]["state"] = "running"
    node = fleet.nodes["node2"]
    node.states = [RUNNING, RUNNING, FINISHED]
    assert fleet.have("node2")["from"] == "built"
    assert "start" not in node.calls
    assert any("runs, following it" in text for text in node.said)


def test_what_a_host_has_is_collected_and_not_built(fleet: Fleet) -> None:
    fleet.answers["node2"].update(state="held", held=True)
    assert fleet.have("node2")["from"] == "node"
    assert fleet.nodes["node2"].calls == ["collect"]
    assert fleet.have("node1")["from"] == "cache"


def test_progress_is_shown_now_and_then(fleet: Fleet) -> None:
    node = fleet.nodes["node1"]
    state = {"status": "running", "phase": "build", "step": "compile", "total": 2210, "started": 1000.0}
    node.peeks = [{**state, "done": n, "updated": 1000.0 + 2 * n} for n in range(30)]
    node.states = [{"state": "nothing"}, *[RUNNING] * 7, FINISHED]
    fleet.have("node1")
    shown = [text for text in node.said if "/2210" in text]
    assert shown[0].startswith("triton 0/2210 0 %")
    # A look every 2 s, a line every 10.
    assert [text.split()[1] for text in shown] == ["0/2210", "5/2210", "10/2210", "15/2210", "20/2210", "25/2210"]


def test_the_clock_goes_on_while_the_build_says_nothing(fleet: Fleet) -> None:
    node = fleet.nodes["node1"]
    state = {"status": "running", "phase": "build", "step": "compile", "started": 1000.0, "updated": 1060.0}
    node.peeks = [dict(state, done=9, total=10)] * 12
    node.states = [{"state": "nothing"}, RUNNING, RUNNING, FINISHED]
    fleet.have("node1")
    assert [text.split()[-1] for text in node.said if "9/10" in text] == ["01:00", "01:10", "01:20"]


def test_a_host_without_memory_is_replaced(fleet: Fleet) -> None:
    fleet.nodes["node1"].states = [{"state": "nothing"}, RUNNING, failed("host", "it ran out of memory")]
    fleet.nodes["node1"].sleep = lambda seconds: None  # type: ignore[method-assign]
    done: dict[str, Any] = {}
    waits = threading.Thread(target=lambda: done.update(fleet.have("node1")))
    waits.start()
    while "node1" not in fleet.cache.failed(KEY):
        threading.Event().wait(0.01)
    assert fleet.have("node2")["from"] == "built"
    waits.join(10)
    assert done["from"] == "cache", "the host that could not build gets the build all the same"
    assert any("instead of node1 (triton 3.5.0+gfx906" in text for text in fleet.nodes["node2"].said)


def test_an_error_of_the_source_stops_all_hosts(fleet: Fleet) -> None:
    fleet.nodes["node1"].states = [{"state": "nothing"}, RUNNING, failed()]
    with pytest.raises(ShareFailed) as first:
        fleet.have("node1")
    with pytest.raises(ShareFailed) as second:
        fleet.have("node2")
    assert "could not be built on node1: a command failed" in str(first.value)
    assert "Way out: read on" in str(first.value)
    assert "  | x.cpp:1: error: no" in str(first.value)
    assert "  | " not in str(second.value) and "on node1" in str(second.value)
    assert fleet.nodes["node2"].calls == []


def test_when_nobody_can_build_everybody_says_why(fleet: Fleet) -> None:
    fleet.answers["node2"]["disk_mib"] = 0
    fleet.nodes["node1"].states = [{"state": "nothing"}, NodeProblem("systemd-run refused it")]
    fleet.nodes["node1"].states.append(NodeProblem("systemd-run refused it"))
    with pytest.raises(ShareFailed, match=r"no host can build it.*node1: systemd-run refused it.*node2: 0.0 GiB free"):
        fleet.have("node1")


def test_a_builder_that_stays_away_is_replaced(fleet: Fleet) -> None:
    node = fleet.nodes["node1"]
    node.states = [{"state": "nothing"}, NodeLost("no route")]
    with pytest.raises(NodeLost):
        fleet.have("node1")
    assert 60 < node.now < 80
    assert any("does not answer since" in text for text in node.said)
    assert fleet.have("node2")["from"] == "built"


def test_a_builder_that_comes_back_goes_on(fleet: Fleet) -> None:
    node = fleet.nodes["node1"]
    node.states = [{"state": "nothing"}, *[NodeLost("restarting")] * 5, RUNNING, FINISHED]
    assert fleet.have("node1")["from"] == "built"
    assert node.calls.count("start") == 1


def test_a_restart_begins_again_once(fleet: Fleet) -> None:
    node = fleet.nodes["node1"]
    node.states = [{"state": "nothing"}, {"state": "lost"}, {"state": "lost"}, RUNNING, FINISHED]
    assert fleet.have("node1")["from"] == "built"
    assert node.calls.count("start") == 2
    assert any("beginning again from scratch" in text for text in node.said)
    node.states = [{"state": "lost"}]
    shutil.rmtree(fleet.cache.folder(KEY))
    with pytest.raises(ShareFailed, match="restarted 2 times"):
        Fleet.have(_alone(fleet), "node1")


def _alone(fleet: Fleet) -> Fleet:
    del fleet.answers["node2"]
    return fleet


def test_an_elected_host_that_never_comes_is_left_out(fleet: Fleet) -> None:
    assert fleet.have("node2")["from"] == "built"
    assert 90 < fleet.nodes["node2"].now < 120


def test_a_damaged_copy_in_the_cache_is_built_again(fleet: Fleet) -> None:
    fleet.have("node1")
    (fleet.cache.folder(KEY) / WHEEL).write_bytes(b"whale")
    fleet.nodes["node1"].states = [{"state": "nothing"}, RUNNING, FINISHED]
    assert fleet.have("node1")["from"] == "built"
    assert any("the cache's copy was damaged" in text for text in fleet.nodes["node1"].said)
    assert fleet.cache.problem(KEY, verify=True) == ""


def test_a_host_that_made_something_else_is_not_believed(fleet: Fleet) -> None:
    _alone(fleet)
    node = fleet.nodes["node1"]
    make = node.make
    node.make = lambda facts: {**make(facts), "parts": {"source": "other"}}  # type: ignore[method-assign]
    with pytest.raises(ShareFailed, match="something else under"):
        fleet.have("node1")
    assert fleet.cache.problem(KEY, verify=False) == "missing"


def test_the_plan_says_where_why_and_asks_nobody(fleet: Fleet) -> None:
    first = fleet.share("node2").plan()
    assert first["from"] == "build on node1"
    assert "build on node1 (8 jobs, 8 cores, 64 GiB free): no build of it is in" in first["why"]
    assert fleet.nodes["node1"].calls == fleet.nodes["node2"].calls == []
    fleet.have("node1")
    assert fleet.share("node2").plan()["from"] == "cache"
    other = {**PARTS, "source": "d" * 40}
    fleet.answers = {"node1": answer(key=keys.digest(other))}
    node = fleet.nodes["node1"]
    order = Order(RECIPE, keys.digest(other), other, JOB, {"folder": "/w/x", "shelf": "/s"}, Pace())
    why = Share(node, fleet.cache, order, fleet.answers).plan()["why"]
    assert f"has source {'c' * 12} instead of {'d' * 12}" in why
