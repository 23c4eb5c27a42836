"""`map` and `calibrate` on the plant: gates, aborts, results."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest
from mi50_fand.bench import Aborted, Bench
from mi50_fand.calibrate import measure
from mi50_fand.mapping import session

from lab.plant.rig import IDLE, Rig

Build = Callable[..., Rig]
Make = Callable[[Rig], Bench]


def options(**changes: object) -> argparse.Namespace:
    values = {"blower": "", "start_limit": 55.0, "abort_limit": 75.0, "seconds": 6.0, "device": "", "channel": 0}
    return argparse.Namespace(**{**values, **changes})


def test_calibration_finds_the_curve_of_the_model(rig: Build, bench: Make) -> None:
    plant = rig()
    code, result, text = measure(bench(plant), plant.config, options())
    assert (code, text) == (0, "")
    points = result["front"]["calibration"]
    assert points[-1][0] == 100
    assert [rpm / 40 for _, rpm in points] == pytest.approx([duty for duty, _ in points], abs=2)
    assert 5 <= result["front"]["start"] <= 15
    assert plant.duty() == 100  # the blower is left at full speed


@pytest.mark.parametrize(("load", "said"), [(200.0, "°C"), (70.0, "draws")])
def test_f40_calibration_does_not_begin_hot_or_at_work(rig: Build, bench: Make, load: float, said: str) -> None:
    plant = rig()
    plant.die.load = load
    plant.idle(3 if load < 100 else 60)
    limit = 95.0 if load < 100 else 55.0
    code, result, text = measure(bench(plant), plant.config, options(start_limit=limit))
    assert (code, result) == (4, {})
    assert said in text


def test_f40_temperature_passes_the_abort_limit_mid_sweep(rig: Build, bench: Make) -> None:
    plant = rig()
    made = bench(plant)
    begin = plant.time
    pause = made.pause

    def work_begins(seconds: float) -> None:
        plant.die.load = 225 if plant.time - begin > 30 else IDLE
        pause(seconds)

    made.pause = work_begins
    code, result, text = measure(made, plant.config, options())
    assert (code, result) == (1, {})
    assert "the limit is 75" in text
    assert plant.duty() == 100


def test_f40_a_signal_mid_sweep_leaves_full_speed(rig: Build, bench: Make) -> None:
    plant = rig()
    made = bench(plant)
    begin = plant.time
    pause = made.pause

    def interrupted(seconds: float) -> None:
        if plant.time - begin > 40:
            raise Aborted("signal 15")
        pause(seconds)

    made.pause = interrupted
    code, _, text = measure(made, plant.config, options())
    assert code == 1
    assert "signal 15" in text
    assert plant.duty() == 100


def test_calibration_refuses_a_channel_that_moves_nothing(rig: Build, bench: Make) -> None:
    plant = rig()
    plant.chip.tacho[2] = "2000"
    code, _, text = measure(bench(plant), plant.config, options())
    assert code == 4
    assert "does not move this blower" in text


def test_a_second_session_is_refused(rig: Build, bench: Make) -> None:
    plant = rig()
    first = bench(plant)
    with first:
        second = Bench(plant.io, first.runtime, first.proc_root, [])
        code, _, text = measure(second, plant.config, options())
    assert code == 3
    assert "stop the daemon first" in text


def test_map_finds_the_channel_and_the_card(rig: Build, bench: Make) -> None:
    plant = rig(spare=2)
    plant.die.load = 50
    plant.idle(200)
    plant.chip.tacho |= {3: "800", 4: "0"}
    made = bench(plant)
    with made:
        results = session(made, options(seconds=30.0))
    found = {entry["channel"]: entry for entry in results}
    assert [t["tacho"] for t in found[2]["tachos"]] == [2]
    assert found[2]["cards"] == list(plant.cards)
    assert found[3]["tachos"] == found[4]["tachos"] == []
    assert "no tacho answered" in found[3]["remark"]
    # Channels that the firmware drove are the firmware's again; the one at a fixed duty ends at full speed.
    assert plant.chip.channels[3].mode == plant.chip.channels[4].mode == 2
    assert plant.duty() == 100


def test_map_never_lowers_an_automatic_channel(rig: Build, bench: Make) -> None:
    plant = rig(spare=2)
    made = bench(plant)
    plant.io.writes.clear()
    with made:
        session(made, options())
    for channel in (3, 4):
        own = [v for path, v in plant.io.writes if path == f"{plant.chip.base}/pwm{channel}"]
        assert set(own) == {255}
