"""F22 to F25: what a blower and its tacho do wrong."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import pytest
from mi50_fand.calibrate import measure

from lab.plant.rig import IDLE, Rig

Build = Callable[..., Rig]


def rung(rig: Rig) -> int:
    return next(iter(rig.engine.ladders.values())).rung


@pytest.mark.parametrize("watts", [100, 225])
def test_f22_blower_stands(rig: Build, watts: float) -> None:
    plant = rig("two-blowers-one-card")
    plant.run(30, watts)
    plant.chip.tacho[2] = "0"
    first = plant.run(3, watts)
    plant.run(2, watts)
    assert plant.duty("left") == 100  # kicked, or at full speed already
    assert all(row["rungs"]["gpu0"] == 0 for row in first)
    plant.run(3, watts)
    assert plant.duty("right") == 100
    assert rung(plant) == 1
    assert plant.die.cap == 60
    assert "FAN_STALLED" in plant.alarms()
    plant.run(60, watts)
    assert plant.commands.words() == []  # the other blower turns: nothing is stopped


def test_f22_full_speed_in_the_cycle_that_finds_it(rig: Build) -> None:
    plant = rig()
    plant.chip.tacho[2] = "0"
    plant.run(1, IDLE)
    assert plant.duty() < 30  # one sample may be a glitch
    plant.engine.cycle()
    assert plant.duty() == 100
    plant.clock.now += 1
    plant.run(1, IDLE)
    assert not plant.said("THIRD_PARTY")


def test_f22_kick_helps(rig: Build) -> None:
    plant = rig()
    plant.chip.tacho[2] = "0"
    plant.run(5, IDLE)
    assert plant.duty() == 100
    plant.chip.tacho.clear()
    plant.run(5, IDLE)
    assert rung(plant) == 0
    plant.run(100, IDLE)
    assert plant.duty() < 30


def test_f22_stall_of_an_idle_card_lowers_nothing_until_it_works(rig: Build) -> None:
    plant = rig()
    plant.fans[plant.blower().config.key].dead = True
    plant.run(20, IDLE)
    assert "FAN_STALLED" in plant.alarms()
    assert rung(plant) == 0
    plant.run(2, 225)
    assert rung(plant) == 1


def test_f23_slow_blower(rig: Build) -> None:
    plant = rig()
    plant.run(60, 60)
    before = plant.blower().duty
    plant.fans[plant.blower().config.key].worn = 0.6
    plant.run(15, 60)
    assert "FAN_WEAK" in plant.alarms()
    assert plant.blower().duty > before * 1.3
    plant.fans[plant.blower().config.key].worn = 1.0
    plant.run(120, 60)
    assert plant.alarms() == set()


def test_f23_a_healthy_blower_on_its_way_is_not_slow(rig: Build) -> None:
    plant = rig()
    for watts in (20, 225, 20, 150, 40, 225):
        plant.run(40, watts)
        assert plant.alarms() == set()


def test_f23_speed_of_the_firmwares_duty_at_start_is_not_slow(rig: Build) -> None:
    """Chips show a speed that is up to 2 s old, and a blower takes some more to spin up from what the firmware gave."""
    plant = rig(settle=False)
    for rpm in ("640", "640", "640", "900", "1800", "3000"):
        plant.chip.tacho[2] = rpm
        plant.run(1, 100)
    plant.chip.tacho.clear()
    plant.run(20, 100)
    assert not plant.said("FAN_WEAK")
    assert not plant.said("FAN_STALLED")


@pytest.mark.parametrize("case", ["65535", "noise", "constant", "absent"])
def test_f24_useless_tacho(rig: Build, case: str) -> None:
    plant = rig()
    card = next(iter(plant.engine.cards.values()))
    noise = itertools.cycle((0, 3000, 9000, 500, 6000, 0, 2500))
    constant = str(plant.fans[plant.blower().config.key].rpm)
    for second in range(60):
        if case == "absent":
            plant.io.values.pop(f"{plant.chip.base}/fan2_input", None)
        else:
            plant.chip.tacho[2] = {
                "65535": "65535",
                "noise": str(next(noise)),
                "constant": constant,
            }[case]
        plant.run(1, 225 if second > 5 else IDLE)
    assert "TACHO_UNUSABLE" in plant.alarms()
    assert not plant.said("FAN_STALLED")
    assert rung(plant) == 0
    assert card.strict  # margins are stricter without a witness
    strict = card.demand
    card.strict = False
    card._decide()
    assert strict >= card.demand


def test_f24_stricter_margin_lowers_the_cap_earlier(rig: Build, document: Callable[..., dict]) -> None:
    data = document()
    data["blowers"][0] |= {"tacho": None, "calibration": []}
    blind, seeing = rig(data), rig()
    for plant in (blind, seeing):
        for number, milli in ((1, "85000"), (2, "98000"), (3, "80000")):
            plant.io.faults[f"{plant.card.base}/temp{number}_input"] = milli
        plant.run(10, 200)
    assert rung(blind) == 1
    assert rung(seeing) == 0


def options(**changes: object) -> argparse.Namespace:
    values = {"blower": "", "start_limit": 55.0, "abort_limit": 75.0, "seconds": 6.0, **changes}
    return argparse.Namespace(**values)


def test_f25_inverted_pwm_is_refused(rig: Build, bench: Callable[..., object]) -> None:
    plant = rig()
    channel = plant.chip.channels[2]
    effective = channel.effective
    channel.effective = lambda: 255 - effective()  # type: ignore[method-assign]
    code, result, text = measure(bench(plant), plant.config, options())
    assert code == 4
    assert result == {}
    assert "inverted" in text
    assert plant.chip.channels[2].pwm == 0  # left turning


def test_f25_a_falling_calibration_is_refused_by_check(document: Callable[..., dict]) -> None:
    import json

    from mi50_fand.config import ConfigError, parse

    data = document()
    data["blowers"][0]["calibration"] = [[20, 4000], [60, 2500], [100, 900]]
    with pytest.raises(ConfigError, match="inverted"):
        parse(json.dumps(data))
