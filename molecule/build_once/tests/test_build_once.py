"""The node after role build_once: whole wheels under their keys, and nothing left of the builds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from helpers import journal

BUILDS = "/var/cache/mi50-aipc/builds"


def manifests(host: Any) -> list[dict[str, Any]]:
    return [
        json.loads(host.file(path).content_string) for path in host.check_output(f"ls {BUILDS}/*/manifest.json").split()
    ]


def test_both_builds_are_whole_and_say_what_they_are(host: Any) -> None:
    found = manifests(host)
    assert len(found) == 2
    for one in found:
        path = f"{BUILDS}/{one['key']}/{one['files'][0]['name']}"
        assert hashlib.sha256(host.file(path).content).hexdigest() == one["files"][0]["sha256"]
        assert (host.file(path).user, host.file(path).mode) == ("root", 0o644)
        assert one["made_with"]["frozen"] and one["parts"]["os"] == "debian 12"


def test_each_was_built_once(host: Any) -> None:
    with journal(host):
        text = host.check_output(
            "journalctl -q --no-pager -o cat SYSLOG_IDENTIFIER=python3 | grep -c '^== done' || true"
        )
        assert int(text) == 2


def test_builds_leave_nothing_but_their_log(host: Any) -> None:
    assert host.check_output("systemctl list-units --all --plain --no-legend 'mi50-build-*'") == ""
    left = sorted(host.check_output("ls /var/lib/mi50-aipc/build").split())
    # The failed build's folder is what its message points to.
    assert len([name for name in left if name.endswith(".log")]) == 1
    assert host.user("mi50-build").shell == "/usr/sbin/nologin"
