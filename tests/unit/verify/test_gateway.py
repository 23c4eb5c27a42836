"""A node that a gateway still keeps drained is told of, unless a run is at work on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.preflight.model import OK, WARN
from mi50.verify.check_gateway import check_gateways

CLAIM = {"id": "7-1", "name": "node3", "controller": "desk 0123abcd", "user": "ann", "since": 1}


@pytest.mark.parametrize(
    ("said", "claim", "status", "words", "remedy"),
    [
        ({"gw": "serves"}, None, OK, "gw sends it requests", ""),
        ({"gw": "drained"}, None, WARN, "gw sends it nothing: it is drained", "playbooks/ready.yml --limit node3"),
        ({"gw": "drained"}, CLAIM, OK, "drained at gw while ann on desk works on it", ""),
        ({"gw": "drained"}, dict.fromkeys(CLAIM), OK, "while somebody on another machine works on it", ""),
        ({"gw": "silent"}, CLAIM, WARN, "gw does not answer", "On gw: journalctl -u mi50-gateway"),
        (
            {"b": "drained", "a": "serves", "c": "silent", "d": ""},
            None,
            WARN,
            "b sends it nothing: it is drained, and no run works on it; c does not answer; a sends it requests",
            "ready.yml --limit node3; On c:",
        ),
    ],
    ids=["serves", "forgotten", "at-work", "by-somebody", "silent", "several"],
)
def test_what_a_gateway_says(said: dict[str, str], claim: Any, status: str, words: str, remedy: str) -> None:
    (found,) = check_gateways("node3", said, claim)
    assert (found.id, found.status) == ("gateway.node", status)
    assert words in found.found and remedy in found.remedy
    assert bool(found.remedy) == (status == WARN)


def test_nothing_is_said_where_no_gateway_knows_the_node() -> None:
    assert check_gateways("node3", {}, None) == check_gateways("node3", {"gw": ""}, None) == []


def test_it_is_documented() -> None:
    assert "`gateway.node`" in (Path(__file__).parents[3] / "docs/troubleshooting.md").read_text()
