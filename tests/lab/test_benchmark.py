"""Issue 8 on nodes: real llama-server on two nodes, killed and robbed of a node half-way, and nothing is lost.

Three calls of one command: the controller is killed, then a node dies, then all is well. Speeds are not judged here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import bench, engine, nodes, site
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab
NODES = ("node1", "node2")
UNIT = "mi50-lab-llama-cpu.service"
CELLS = {"small.capital.fixed.en", "small.letter.fixed.en"}
# As short as a measurement can be that still has two cells, each with warm-up and repetitions.
OPTIONS = {
    "benchmark_modes": ["fixed"],
    "benchmark_probes": [],
    "benchmark_repeats": 2,
    "benchmark_max_tokens": 12,
    "benchmark_poll": 1,
    "benchmark_lost_timeout": 8,
    "benchmark_seed": -1,
    # The client's calibration and the controls of a cell are proven elsewhere.
    "benchmark_measure": {"thermal": "off", "sample_hz": 2, "calibrate": False, "controls": False},
}
# A dead host is noticed after seconds, not after the minute and a half that ansible.cfg gives a slow network.
IMPATIENT = {
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=2 -o ServerAliveCountMax=2",
    "ANSIBLE_SSH_RETRIES": "0",
    "ANSIBLE_TIMEOUT": "4",
}
PATIENCE = 240.0


@dataclass
class Story:
    """The three calls and what was there after each."""

    reports: Path
    environment: dict[str, str]
    killed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    died: site.Result | None = None
    after_death: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    report_after_death: str = ""
    active_before: dict[str, list[str]] = field(default_factory=dict)
    last: site.Result | None = None
    active_after: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> Path:
        """The folder of the only run."""
        (found,) = [path for path in self.reports.iterdir() if path.is_dir()]
        return found

    def cells(self) -> dict[str, list[dict[str, Any]]]:
        """Finished cells that are on the controller, by node."""
        return {node: list(_cells(self.reports, node)) for node in NODES}


def _cells(reports: Path, node: str) -> Iterator[dict[str, Any]]:
    for path in reports.glob(f"*/{node}/*.jsonl"):
        lines = (json.loads(line) for line in path.read_text().splitlines())
        yield from (line for line in lines if line["type"] == "cell")


def arguments(reports: Path) -> list[str]:
    return ["--limit", ",".join(NODES), "-e", json.dumps({**OPTIONS, "benchmark_report_dir": str(reports)})]


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def call_and_kill(lab: Lab, story: Story) -> None:
    """Run the playbook, and kill it without warning as soon as one cell is home."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(lab.settings.inventory)]
    command += ["playbooks/benchmark.yml", *bench.SERIAL, *arguments(story.reports)]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_CONFIG": str(lab.settings.root / "ansible.cfg")}
    env.update(story.environment)
    log = story.reports.with_suffix(".log")
    with log.open("w") as stream:
        child = subprocess.Popen(
            command, cwd=lab.settings.root, env=env, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            wait_for(lambda: child.poll() is not None or any(_cells(story.reports, "node1")))
            assert child.poll() is None, log.read_text()[-3000:]
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def call_and_lose_a_node(lab: Lab, story: Story) -> None:
    """Run the playbook; node2 loses its power as soon as one of its cells is home."""

    def cut() -> None:
        wait_for(lambda: any(_cells(story.reports, "node2")))
        engine.docker("kill", nodes.container("node2"))

    thread = threading.Thread(target=cut)
    thread.start()
    story.died = bench.run(lab.settings, arguments(story.reports), quiet=True, environment=story.environment)
    thread.join()


@pytest.fixture(scope="module")
def story(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("bench")
    # Connections of its own: a master that another test left open has that one's patience.
    told = Story(folder / "reports", {**IMPATIENT, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp")})
    bench.prepare(lab.settings)
    # On node1 an engine is in use when the benchmark comes, on node2 none is.
    lab.ssh("node1", f"systemctl start {UNIT}")
    told.active_before = {node: bench.active(node) for node in NODES}
    call_and_kill(lab, told)
    told.killed = told.cells()
    call_and_lose_a_node(lab, told)
    told.after_death = told.cells()
    told.report_after_death = "".join(path.read_text() for path in told.run().glob("report/*.md"))
    engine.docker("start", nodes.container("node2"))
    nodes.wait_booted(nodes.container("node2"))
    # A container's /dev is new with every start; a driver would have made its files again.
    engine.docker("exec", nodes.container("node2"), "standin_devices", lab.settings.preset("node2"))
    told.last = bench.run(lab.settings, arguments(told.reports), quiet=True, environment=told.environment)
    told.active_after = {node: bench.active(node) for node in NODES}
    return told


def test_a_killed_controller_keeps_what_was_home(story: Story) -> None:
    assert [cell["cell_id"] for cell in story.killed["node1"]][:1] == ["small.capital.fixed.en"]


def test_the_next_call_goes_on_with_the_same_run(story: Story) -> None:
    assert story.run().name  # one folder: neither of the later calls began another run
    assert story.last is not None and "measured before" in story.last.output


def test_a_dead_node_fails_the_play_after_the_report(story: Story) -> None:
    assert story.died is not None
    assert story.died.returncode != 0
    assert "the host went away" in story.died.output, story.died.output[-4000:]
    assert "node1" in story.report_after_death and "node2" in story.report_after_death


def test_a_dead_node_loses_no_finished_cell(story: Story) -> None:
    assert {cell["cell_id"] for cell in story.after_death["node1"]} == CELLS
    assert {cell["cell_id"] for cell in story.after_death["node2"]} == {"small.capital.fixed.en"}


def test_in_the_end_every_cell_is_there_and_measured_once(story: Story) -> None:
    assert story.last is not None
    assert story.last.returncode == 0, story.last.why
    for node in NODES:
        counts = Counter(cell["cell_id"] for cell in _cells(story.reports, node))
        assert counts == dict.fromkeys(CELLS, 1), node
    assert not list(story.run().glob("*/*.earlier-*")), "two controllers were at work"
    run = json.loads((story.run() / "run.json").read_text())
    assert run["finished"], "the run is not closed"


def test_figures_are_the_servers_own(story: Story) -> None:
    for cell in _cells(story.reports, "node1"):
        assert cell["status"] == "OK", cell["reject_reason"]
        assert cell["headline"]["prefill"]["metric"] == "pf_srv"
        assert cell["tokens"]["cached_max"] == 0


def test_what_ran_before_runs_again_and_nothing_else(story: Story, lab: Lab) -> None:
    assert story.active_before == {"node1": ["llama-cpu"], "node2": []}, "this proves nothing"
    assert story.active_after == story.active_before
    for node in NODES:
        assert lab.ssh(node, "test -e /var/lib/mi50-aipc/bench/before.json; echo $?").strip() == "1"


def test_a_report_of_both_nodes(story: Story) -> None:
    names = {path.suffix for path in (story.run() / "report").iterdir()}
    assert {".html", ".md", ".csv", ".json"} <= names


def test_bad_engines_get_one_error_and_change_nothing(story: Story, lab: Lab) -> None:
    bad = [{"name": "x", "kind": "tgi", "url": "http://127.0.0.1:1/v1", "model": "m", "unit": "x"}]
    extra = [
        "--limit",
        "node1",
        "-e",
        json.dumps({"benchmark_engines": bad, "benchmark_report_dir": str(story.reports)}),
    ]
    result = site.run(lab.settings, extra, playbook="playbooks/benchmark.yml", quiet=True)
    assert result.returncode != 0
    squeezed = " ".join(result.output.split())
    assert all(word in squeezed for word in ("kind 'tgi'", "/v1: leave that out", "systemd service"))
    assert "Traceback" not in result.output
    assert bench.active("node1") == ["llama-cpu"]
