"""The calibration play from end to end: two minutes of real time, so it is run on demand.

pytest tests/process/long_calibration.py -m process
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.process.conftest import DEVICE, UNIT, Box
from tests.process.test_plays import Controller

pytestmark = pytest.mark.process


def test_calibration_is_measured_and_kept(unmapped: Box, tmp_path: Path) -> None:
    controller = Controller(tmp_path)
    controller.found.parent.mkdir(parents=True)
    blower = {"name": "left", "device": DEVICE, "chip": "nct6798", "channel": 1, "tacho": 1, "gpus": ["0000:03:00.0"]}
    controller.found.write_text(yaml.safe_dump({"fan_control_blowers": [blower]}))
    done = controller.run("fan_calibrate.yml", "--limit", "box")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    (measured,) = controller.blowers()
    assert measured["calibration"][-1] == [100, 3000]  # type: ignore[index]
    assert measured["name"] == "left"
    assert (controller.found.parent / "fan_control.yml.old").is_file()
    assert unmapped.code(f"systemctl is-active -q {UNIT}") == 0
