"""The explicit plays, as a user runs them: mapping a node that knows no blower, into the host's own variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.process.conftest import DEVICE, NAME, SYS, UNIT, Box

pytestmark = pytest.mark.process
ROOT = Path(__file__).resolve().parents[2]


class Controller:
    """ansible-playbook with an inventory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        host = {"ansible_host": NAME, "ansible_connection": "community.docker.docker", "ansible_user": "root"}
        paths = {"ansible_python_interpreter": "/usr/bin/python3", "mi50_sysfs_root": SYS}
        group = {"mi50_nodes": {"hosts": {"box": {**host, **paths}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(group))
        self.found = folder / "host_vars/box/fan_control.yml"

    def run(self, playbook: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.folder / "hosts.yml")]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [*argv, str(ROOT / "playbooks" / playbook), *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=ROOT,
        )

    def blowers(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = yaml.safe_load(self.found.read_text())["fan_control_blowers"]
        return found


def test_map_needs_a_limit(unmapped: Box, tmp_path: Path) -> None:
    controller = Controller(tmp_path)
    done = controller.run("fan_map.yml")
    assert done.returncode != 0
    assert "--limit box" in done.stdout
    assert not controller.found.exists()


def test_map_writes_what_the_daemon_then_governs(unmapped: Box, tmp_path: Path) -> None:
    controller = Controller(tmp_path)
    channels = f'{{"fan_control_map_channels": ["{DEVICE}#1", "{DEVICE}#5"], "fan_control_measure_seconds": 3}}'
    done = controller.run("fan_map.yml", "--limit", "box", "-e", channels)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "pwm5: no tacho answered" in done.stdout
    (blower,) = controller.blowers()
    assert (blower["device"], blower["channel"], blower["tacho"]) == (DEVICE, 1, 1)
    assert blower["gpus"] == ["0000:03:00.0", "0000:06:00.0"]
    done = controller.run("site.yml", "--limit", "box", "--tags", "fan_control", "-e", "fan_control_enabled=true")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Not calibrated" in done.stdout
    assert unmapped.code(f"systemctl is-active -q {UNIT}") == 0
    assert unmapped.sh("cut -f1,3 /etc/mi50-fand/channels").endswith(f"{DEVICE}\t1")
