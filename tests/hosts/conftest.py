"""The checks of verify.yml as tests against real hosts, one each: `pytest tests/hosts --inventory inventories/fleet`.

Testinfra's own `host` is there as well, for tests of one's own beside these (`--hosts ansible://mi50_nodes`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from mi50.verify.hardware import needs_hardware

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--inventory` and `--limit`, as of ansible-playbook."""
    parser.addoption("--inventory", help="inventory of the nodes to look at; without it nothing is collected here")
    parser.addoption("--limit", default="mi50_nodes", help="which of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hardware: says something only where a card is")


def reports(config: pytest.Config) -> list[tuple[str, dict[str, Any]]]:
    """Run verify.yml once; host and check, in the order of the reports."""
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    with tempfile.TemporaryDirectory() as folder:
        words = ["-i", config.getoption("--inventory"), "--limit", config.getoption("--limit")]
        given = json.dumps({"mi50_report_dir": folder, "preflight_fail": False})
        done = subprocess.run(
            [ansible, *words, str(ROOT / "playbooks/verify.yml"), "-e", given],
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )
        files = sorted(Path(folder).glob("verify/*.json"))
        # A host that cannot be reached must not look like one without a fault.
        if done.returncode or not files:
            raise pytest.UsageError(
                f"verify.yml could not look at every host:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
            )
        return [(path.stem, check) for path in files for check in json.loads(path.read_text())["checks"]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a host and check."""
    if "check" not in metafunc.fixturenames:
        return
    found = reports(metafunc.config) if metafunc.config.getoption("--inventory") else []
    metafunc.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=f"{host}-{check['id']}",
                marks=[pytest.mark.hardware] if needs_hardware(check["id"]) else [],
            )
            for host, check in found
        ],
    )
