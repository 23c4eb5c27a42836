"""F26 to F29: the whole loop on the thermal model."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from lab.plant.rig import IDLE, Rig

Build = Callable[..., Rig]


def travel(trace: list[dict]) -> float:
    """Sum of the changes of the duty in full ranges."""
    duties = [row["duty"]["front"] for row in trace]
    return sum(abs(b - a) for a, b in zip(duties, duties[1:], strict=False)) / 100


@pytest.mark.parametrize("name", ["one-card", "two-cards-one-blower", "two-blowers-one-card"])
def test_f26_load_step(rig: Build, name: str) -> None:
    plant = rig(name)
    begin = plant.die.junction
    trace = plant.run(5, 225)
    assert plant.die.junction > begin + 20
    assert min(trace[1]["duty"].values()) >= 85
    trace += plant.run(600, 225)
    assert max(row["junction"] for row in trace) < 105 - 10
    assert not plant.said("THERMAL_FULL")


def test_f27_bursts(rig: Build) -> None:
    plant = rig()
    trace = plant.run(600, lambda second: 225 if second % 24 < 12 else IDLE)
    assert travel(trace) < 4
    on = [row["duty"]["front"] for row in trace if (row["time"] - trace[0]["time"]) % 24 < 12]
    assert all(b >= a for a, b in zip(on, on[1:], strict=False))
    assert max(row["junction"] for row in trace) < 95


def test_f28_all_blowers_dead_at_full_load(rig: Build) -> None:
    plant = rig()
    plant.run(300, 225)
    plant.fans[plant.blower().config.key].dead = True
    dead = plant.time
    trace = plant.run(8)
    assert plant.die.cap == 60
    assert plant.die.power < 70
    trace += plant.run(120)
    assert ["systemctl", "stop", "--no-block", "llama-server.service"] in [words for _, words in plant.commands.ordered]
    stopped = plant.commands.ordered[0][0] - dead
    assert stopped < 30
    trace += plant.run(1800)
    assert "poweroff" not in plant.commands.words()  # the temperature does not rise any more
    assert max(row["junction"] for row in trace) < 110


def test_f28_power_off_when_nothing_else_helps(rig: Build) -> None:
    plant = rig()
    plant.run(300, 225)
    plant.commands.obeyed = False  # the engine cannot be stopped
    plant.card.cap_ignored = True  # and the card knows no cap
    plant.fans[plant.blower().config.key].dead = True
    trace = plant.run(60)
    assert plant.commands.words() == ["stop", "poweroff"]
    first = next(row for row in trace if row["rungs"]["gpu0"] == 3)
    assert first["junction"] >= 105
    assert all(row["rungs"]["gpu0"] < 3 or row["junction"] > 107 for row in trace if row["junction"] < 107)


def cap_not_writable(plant: Rig) -> None:
    plant.io.write_faults[f"{plant.card.base}/power1_cap"] = errno.EACCES


def cap_fixed(plant: Rig) -> None:
    plant.card.cap_min = plant.card.cap_max = 225.0


def cap_write_ignored(plant: Rig) -> None:
    plant.card.cap_ignored = True


def cap_without_effect(plant: Rig) -> None:
    plant.io.hooks[f"{plant.card.base}/power1_cap"] = lambda value: plant.io.values.update(
        {f"{plant.card.base}/power1_cap": str(value)}
    )


@pytest.mark.parametrize(
    ("spoil", "seconds"), [(cap_not_writable, 2), (cap_fixed, 2), (cap_write_ignored, 2), (cap_without_effect, 6)]
)
def test_f29_cap_does_not_work(rig: Build, spoil: Callable[[Rig], None], seconds: float) -> None:
    plant = rig()
    plant.run(60, 225)
    spoil(plant)
    plant.fans[plant.blower().config.key].dead = True
    while not plant.said("LADDER_CAP") and plant.time < 1000:
        plant.run(1)
    asked = plant.time
    plant.run(seconds)
    assert plant.commands.words() == ["stop"]
    assert plant.commands.ordered[0][0] - asked <= seconds
