"""F12 to F16: who is who, after renumbering, removal, renaming, late drivers and false limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mi50_fand import hwmon

from lab.plant.model import Fan
from lab.plant.rig import IDLE, Rig
from lab.plant.standin_chip import Chip

Build = Callable[..., Rig]


def foreign_writes(rig: Rig, device: str) -> list[tuple[str, int]]:
    return [write for write in rig.io.writes if write[0].startswith(f"{device}/")]


@pytest.mark.parametrize("running", [False, True], ids=["between boots", "at run time"])
def test_f12_renumbered(rig: Build, running: bool) -> None:
    plant = rig()
    plant.chip.unplug()
    plant.card.unbind()
    # Another chip of the same name takes the number that the blower's chip had.
    foreign = Chip(plant.io, {1: Fan(), 2: Fan()}, "devices/platform/nct6775.2608", "nct6798")
    plant.io.writes.clear()
    plant.chip.plug("hwmon9")
    plant.card.plug("hwmon12")
    if not running:
        plant.boot()
    plant.run(10, 200)
    assert plant.duty() > 85
    assert foreign_writes(plant, foreign.device) == []
    assert any(path.startswith("devices/platform/nct6775.656/hwmon/hwmon9/") for path, _ in plant.io.writes)
    assert "CHIP_MISSING" not in plant.alarms() or running


def test_f12_old_registration_keeps_attributes_in_the_device(rig: Build) -> None:
    class Old(Chip):
        def plug(self, hwmon: str) -> None:
            self.in_device = True
            super().plug(hwmon)

    plant = rig(chip=Old)
    plant.run(5, 200)
    assert plant.duty() > 85
    assert plant.chip.base == "devices/platform/nct6775.656"


def test_f12_a_bus_number_that_moves_is_no_new_chip() -> None:
    assert hwmon.stable("devices/pci0000:00/0000:00:1f.3/i2c-4/4-002e") == hwmon.stable(
        "devices/pci0000:00/0000:00:1f.3/i2c-0/0-002e"
    )
    assert hwmon.stable("devices/x/0003:3904:F001.0002") == hwmon.stable("devices/x/0003:3904:F001.000A")
    assert hwmon.stable("devices/x/i2c-4/4-002e") != hwmon.stable("devices/x/i2c-4/4-002d")


@pytest.mark.parametrize("bus", [(7,), (7, 8)], ids=["one bus", "two buses alike"])
def test_f12_moved_bus_in_the_tree(rig: Build, document: Callable[..., dict], bus: tuple[int, ...]) -> None:
    data = document()
    data["blowers"][0] |= {"device": "devices/pci0000:00/0000:00:1f.3/i2c-4/4-002e", "chip": "adt7475"}
    plant = rig(data)
    plant.chip.unplug()
    chips = []
    for number in bus:
        device = f"devices/pci0000:00/0000:00:1f.3/i2c-{number}/{number}-002e"
        chips.append(Chip(plant.io, {2: Fan()}, device, "adt7475", f"hwmon{20 + number}"))
    plant.io.writes.clear()
    plant.run(3)
    if len(bus) == 1:
        assert chips[0].channels[2].mode == 1
    else:
        assert plant.io.writes == []  # which of the two it is, nobody can tell
        assert "CHIP_AMBIGUOUS" in plant.alarms()


def test_f13_one_of_two_identical_cards_removed(rig: Build, document: Callable[..., dict]) -> None:
    data = document("two-cards-one-blower")
    data["blowers"] = [
        {**data["blowers"][0], "name": "front", "gpus": ["gpu0"]},
        {**data["blowers"][0], "name": "back", "channel": 3, "tacho": 3, "gpus": ["gpu1"]},
    ]
    plant = rig(data)
    _, second = plant.cards.values()
    second.unplug()
    plant.run(60, IDLE)
    assert plant.duty("front") < 30
    assert plant.duty("back") == 100
    assert "GPU_MISSING" in plant.alarms()
    plant.run(10, 200)
    assert plant.duty("front") > 85  # the card that is left is controlled as ever
    plant.engine.cards[second.pci].acknowledged = True
    plant.run(150, IDLE)
    assert plant.duty("back") < 30
    second.plug("hwmon17")
    plant.run(20, 200)
    assert plant.duty("back") > 85


def test_f13_unbind_and_rebind(rig: Build) -> None:
    plant = rig()
    plant.card.unbind()
    plant.run(5, IDLE)
    assert plant.duty() == 100
    plant.card.plug("hwmon6")
    plant.run(150, IDLE)
    assert plant.duty() < 30
    assert plant.alarms() == set()


@pytest.mark.parametrize("late", ["amdgpu", "nct6775"])
def test_f14_driver_loads_late(rig: Build, late: str) -> None:
    plant = rig(settle=False)
    if late == "amdgpu":
        plant.card.unbind()
    else:
        plant.chip.unplug()
    trace = plant.run(90)
    assert all(row["healthy"] for row in trace)  # the node boots, READY and the watchdog go out
    assert plant.alarms() == {"GPU_MISSING" if late == "amdgpu" else "CHIP_MISSING"}
    assert late == "nct6775" or plant.duty() == 100
    if late == "amdgpu":
        plant.card.plug("hwmon8")
    else:
        plant.chip.plug("hwmon8")
        plant.run(1)
        assert plant.duty() == 100
    plant.run(150, IDLE)
    assert plant.duty() < 30
    assert plant.alarms() == set()


def test_f15_chip_renamed(rig: Build, document: Callable[..., dict]) -> None:
    data = document()
    data["blowers"][0]["chip"] = "it8696"
    plant = rig(data)
    plant.chip.unplug()
    plant.chip.name = "it8696_a008090a"
    plant.chip.plug("hwmon3")
    plant.run(5, 200)
    assert plant.duty() > 85
    assert "CHIP_RENAMED" in plant.alarms()


def test_f15_another_chip_at_the_same_place_is_not_written(rig: Build) -> None:
    plant = rig()
    plant.chip.unplug()
    plant.chip.name = "w83795g"
    plant.chip.plug("hwmon3")
    plant.io.writes.clear()
    plant.run(5, 200)
    assert [path for path, _ in plant.io.writes if path.startswith("devices/platform")] == []
    assert "CHIP_MISSING" in plant.alarms()


@pytest.mark.parametrize("word", ["150000", "0", "-1", "garbage", None], ids=str)
def test_f16_false_limit(rig: Build, word: str | None) -> None:
    plant = rig(settle=False)
    path = f"{plant.card.base}/temp2_crit"
    if word is None:
        del plant.io.values[path]
    else:
        plant.io.values[path] = word
    plant.run(3)
    assert next(iter(plant.engine.cards.values())).limits["junction"] == 105
    assert "LIMIT_CLAMPED" in plant.alarms()
    for number in (1, 2, 3):
        plant.io.faults[f"{plant.card.base}/temp{number}_input"] = "80000"
    plant.run(60)
    plant.io.faults[f"{plant.card.base}/temp2_input"] = "95000"
    plant.run(1)
    assert plant.duty() == 100


def test_f16_a_lower_limit_is_believed(rig: Build) -> None:
    plant = rig(settle=False)
    plant.io.values[f"{plant.card.base}/temp2_crit"] = "95000"
    plant.run(3)
    assert next(iter(plant.engine.cards.values())).limits["junction"] == 95
    plant.run(150, IDLE)
    for sensor in (1, 2, 3):
        plant.io.faults[f"{plant.card.base}/temp{sensor}_input"] = "75000"
    plant.io.faults[f"{plant.card.base}/temp2_input"] = "85000"
    plant.run(5)
    assert plant.duty() == 100
