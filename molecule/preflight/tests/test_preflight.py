"""The reports: a good node passes, each wrong setting is named, and the node itself is untouched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def report(host: Any, kind: str) -> dict[str, Any]:
    """Report of the node under test, from the controller."""
    name = host.backend.get_hostname()
    path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "reports" / kind / f"{name}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    return json.loads(path.read_text())


def status(found: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in found["checks"]}


def test_good_node_passes(host: Any) -> None:
    found = report(host, "preflight")
    assert found["ok"] is True, found["failures"]
    assert found["failures"] == []
    assert status(found)["os.release"] == "ok"
    assert status(found)["gpu.present"] == "ok"
    assert status(found)["gpu.count"] == "ok"
    assert status(found)["network.mi50_url_radeon"] == "ok"
    assert status(found)["network.mi50_url_arch_archive"] == "ok"
    assert status(found)["repository.key"] == "ok"
    assert status(found)["repository.lists"] == "ok"


def test_wrong_settings_are_all_named(host: Any) -> None:
    found = report(host, "broken")
    expected = ["kernel.driver_mode", "disk.space", "gpu.count", "network.mi50_url_radeon"]
    assert set(expected) <= set(found["failures"]), found["failures"]
    network = next(check for check in found["checks"] if check["id"] == "network.mi50_url_radeon")
    assert "mi50_http_proxy" in network["found"]
    assert "proxy does not answer" in network["found"]
    assert all(check["remedy"] for check in found["checks"] if check["status"] == "fail")


def test_inventory_layer_alone(host: Any) -> None:
    found = report(host, "inventory")
    assert found["failures"] == ["inventory.variables", "inventory.stack"]
    assert "os.release" not in status(found)


def test_node_is_untouched(host: Any) -> None:
    assert not host.file("/var/cache/mi50-aipc").exists
    assert not host.file("/opt/rocm").exists
    assert host.run("ls -d /tmp/mi50-preflight-*").rc != 0
