"""F11: a read that does not come back, in virtual time and with real threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.plant.rig import IDLE, Rig

from .live import Live

Build = Callable[..., Rig]


def two(document: Callable[..., dict]) -> dict:
    """Two cards, a blower for each."""
    data = document("two-cards-one-blower")
    data["blowers"] = [
        {**data["blowers"][0], "name": "front", "gpus": ["gpu0"]},
        {**data["blowers"][0], "name": "back", "channel": 3, "tacho": 3, "gpus": ["gpu1"]},
    ]
    return data


def test_f11_hung_sensor(rig: Build, document: Callable[..., dict]) -> None:
    plant = rig(two(document))
    second = list(plant.cards.values())[1]
    plant.io.faults[f"{second.base}/temp2_input"] = 30.0
    trace = plant.run(3, IDLE)
    assert plant.duty("back") == 100
    assert plant.duty("front") < 30  # the other card is as it was
    trace += plant.run(20, IDLE)
    assert all(row["healthy"] for row in trace)  # the watchdog is fed: every write is verified
    assert "SENSOR_HUNG" in plant.alarms()
    plant.io.faults.clear()
    plant.run(150, IDLE)
    assert plant.duty("back") < 30
    assert plant.alarms() == set()


def test_f11_hung_tacho_is_passed_by(rig: Build) -> None:
    plant = rig()
    plant.io.faults[f"{plant.chip.base}/fan2_input"] = 30.0
    trace = plant.run(10, IDLE)
    assert plant.duty() == 100
    assert trace[-1]["healthy"]  # full speed was set and read back past the hanging thread


def test_f11_hung_chip_feeds_no_watchdog_and_lowers_the_cap(rig: Build) -> None:
    plant = rig()
    plant.run(5, 200)
    plant.io.write_faults[f"{plant.chip.base}/pwm2"] = 300.0
    trace = plant.run(10, 200)
    assert not any(row["healthy"] for row in trace)
    assert "WRITE_HUNG" in plant.alarms()
    assert plant.die.cap == 60


def test_f11_with_real_threads(document: Callable[..., dict], tmp_path: Path) -> None:
    """A FIFO in the place of temp2_input: open() blocks until somebody writes."""
    data = two(document)
    for blower in data["blowers"]:
        blower["floor"] = 85  # from full speed at start down to the floor in seconds
    data["law"] = {"hold_s": 5, "down_percent_per_s": 5}
    with Live(data, tmp_path) as live:
        live.start()
        live.ready()
        floor = round(85 * 2.55)
        live.wait(lambda: abs(live.pwm(2) - floor) <= 1 and abs(live.pwm(3) - floor) <= 1, 15)
        path = live.hang(f"{list(live.tree.rig.cards.values())[1].base}/temp2_input")
        hung = time.monotonic()
        assert live.wait(lambda: live.pwm(3) == 255, 3.5) <= 3.2  # a cycle of grace for a busy machine
        assert abs(live.pwm(2) - floor) <= 1  # the other card's blower stays as it was
        live.wait(lambda: sum(when > hung and line == "WATCHDOG=1" for when, line in live.heard()) >= 4, 8)
        assert live.verb("status").returncode == 1
        with path.open("w") as stream:  # the read comes back, with an empty word
            stream.write("")
        assert live.end() == 0
        assert live.pwm(2) == live.pwm(3) == 255


@pytest.mark.parametrize("seconds", [0.5])
def test_f11_leaving_with_a_hung_thread(document: Callable[..., dict], tmp_path: Path, seconds: float) -> None:
    with Live(document(), tmp_path) as live:
        live.start()
        live.ready()
        live.hang(f"{live.tree.rig.card.base}/temp2_input")
        time.sleep(1 + seconds)
        begin = time.monotonic()
        assert live.end() == 0
        assert time.monotonic() - begin < 2.5
