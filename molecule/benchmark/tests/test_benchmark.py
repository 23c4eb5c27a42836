"""One server at a time, results on the controller, the node as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def lines(host: Any, engine: str) -> list[dict[str, Any]]:
    """Records of an engine, from the controller."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "reports" / "benchmark"
    (path,) = folder.glob(f"*/{host.backend.get_hostname()}/{engine}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def cells(host: Any, engine: str) -> list[dict[str, Any]]:
    return [line for line in lines(host, engine) if line["type"] == "cell"]


def test_both_servers_were_measured_once(host: Any) -> None:
    # The role ran twice, converge and idempotence.
    for engine in ("first", "second"):
        (cell,) = cells(host, engine)
        assert cell["status"] == "OK", cell["reject_reason"]
        # The stand-in gives 200 tokens a second; what is looked at is that something was measured.
        assert 50 < cell["headline"]["decode"]["median"] < 400


def test_they_were_measured_one_at_a_time(host: Any) -> None:
    log = host.check_output(
        "journalctl -o short-unix --no-pager -u lab-first -u lab-second | grep -E 'Started|Stopped'"
    )
    running: set[str] = set()
    for line in log.splitlines():
        name = "first" if "lab-first" in line else "second"
        (running.add if "Started" in line else running.discard)(name)
        assert len(running) <= 1, log


def test_a_server_that_does_not_start_has_a_status(host: Any) -> None:
    assert cells(host, "broken")[-1]["status"] == "TIMEOUT_CONNECT"


def test_what_an_engine_cannot_do_stands_there(host: Any) -> None:
    (cell,) = cells(host, "absent")
    assert (cell["status"], cell["reject_reason"]) == ("UNSUPPORTED", "tried in the test")


def test_what_ran_before_runs_again(host: Any) -> None:
    assert host.service("lab-second").is_running
    assert not host.service("lab-first").is_running
    assert not host.file("/var/lib/mi50-aipc/bench/before.json").exists
