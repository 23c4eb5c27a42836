"""Layouts, latches and what is told: monitored blower, restart, reload, metrics, status, caps beside gpu_power."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50_fand import files, metrics, rivals, status
from mi50_fand.config import parse
from mi50_fand.daemon import Daemon
from mi50_fand.publish import Publisher, take_up

from lab.plant.rig import IDLE, Rig

Build = Callable[..., Rig]


def ladder(rig: Rig) -> object:
    return next(iter(rig.engine.ladders.values()))


def publisher(rig: Rig) -> Publisher:
    Path(rig.config.runtime).mkdir(exist_ok=True)
    return Publisher(rig.engine, rig.config.runtime)


def test_two_cards_one_blower_follow_the_hotter(rig: Build) -> None:
    plant = rig("two-cards-one-blower")
    _, second = plant.dies.values()
    second.load = 225
    plant.run(3)
    assert plant.duty() > 85
    second.load = IDLE
    for card in plant.cards.values():
        plant.io.faults[f"{card.base}/temp2_input"] = 5  # EIO on one of two cards is enough to hold
        break
    before = plant.blower().duty
    plant.run(2)
    assert plant.blower().duty >= before


def test_two_blowers_one_card_get_the_same(rig: Build) -> None:
    plant = rig("two-blowers-one-card")
    plant.run(30, 180)
    assert plant.duty("left") == plant.duty("right") > 70


def test_monitored_only_writes_nothing_and_lowers_the_cap(rig: Build) -> None:
    plant = rig("monitored-only", settle=False)
    plant.io.writes.clear()
    fan = next(iter(plant.fans.values()))
    fan.duty = 0.5
    plant.run(30, 225)
    for die in plant.dies.values():
        die.sink += 50  # its own probe has failed
    trace = plant.run(10, 225)
    assert trace[-1]["rungs"]["gpu0"] == 1
    assert {path.rsplit("/", 1)[-1] for path, _ in plant.io.writes} == {"power1_cap"}
    assert all(row["healthy"] for row in trace)


def test_monitored_blower_with_a_tacho(rig: Build) -> None:
    data = {
        "version": 1,
        "gpus": [{"name": "gpu0", "pci": "0000:03:00.0"}],
        "blowers": [
            {
                "name": "probe",
                "mode": "monitored",
                "gpus": ["gpu0"],
                "device": "devices/platform/nct6775.656",
                "chip": "nct6798",
                "tacho": 1,
            }
        ],
    }
    plant = rig(data, settle=False)
    plant.chip.tacho[1] = "0"
    plant.run(30, IDLE)
    assert plant.alarms() == set()  # it may stand while its card idles
    plant.run(8, 225)
    assert "FAN_STALLED" in plant.alarms()
    assert plant.die.cap == 60
    assert not any("pwm" in path for path, _ in plant.io.writes)


def stalled(plant: Rig) -> None:
    plant.run(30, 225)
    plant.fans[plant.blower().config.key].dead = True
    plant.run(10, 225)
    assert ladder(plant).rung == 1


def test_emergency_is_latched_over_a_restart(rig: Build) -> None:
    plant = rig()
    stalled(plant)
    before = publisher(plant)
    before.publish(True)
    plant.boot()
    take_up(plant.engine, plant.config.runtime)
    assert ladder(plant).rung == 1
    plant.run(20, 20)
    assert plant.die.cap == 60
    assert ladder(plant).rung == 2  # still no air: the next rung, as if nothing had happened
    plant.fans[plant.blower().config.key].dead = False
    plant.run(60)
    assert plant.die.cap == 60
    plant.run(30)
    assert ladder(plant).rung == 0
    assert plant.die.cap == 225  # given back to what was found before the restart


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"cards": 4, "caps": {"x": "y"}}', '{"cards": {"0000:03:00.0": 1}}']
)
def test_a_broken_state_file_is_no_reason_to_fail(rig: Build, broken: str) -> None:
    plant = rig()
    publisher(plant)
    Path(plant.config.runtime, "state.json").write_text(broken)
    take_up(plant.engine, plant.config.runtime)
    assert ladder(plant).rung == 0


def test_reload_lowers_no_emergency(rig: Build) -> None:
    plant = rig()
    stalled(plant)
    data = json.loads(json.dumps(plant.document))
    data["gpus"][0]["name"] = "renamed"
    data["blowers"][0]["gpus"] = ["renamed"]
    plant.engine.adopt(parse(json.dumps(data)))
    plant.run(1)
    assert plant.duty() == 100
    assert plant.die.cap == 60
    assert plant.blower().tacho.stalled
    data["gpus"][0]["pci"] = "0000:42:00.0"
    assert plant.engine.dropped(parse(json.dumps(data))) == ["renamed"]


def test_reload_keeps_the_duty_and_leaves_dropped_channels_at_full_speed(rig: Build) -> None:
    plant = rig("two-blowers-one-card")
    data = json.loads(json.dumps(plant.document))
    del data["blowers"][1]
    config = parse(json.dumps(data))
    assert plant.engine.abandon(config) == []
    plant.engine.adopt(config)
    plant.run(5, IDLE)
    assert plant.chip.channels[3].effective() == 255
    assert plant.duty("left") < 30


def test_cap_marker_and_the_wish_of_gpu_power(rig: Build) -> None:
    plant = rig()
    stalled(plant)
    marker = Path(plant.config.runtime, "caps", plant.card.pci)
    assert marker.read_text() == "60000000 225000000\n"
    # Somebody raises the cap behind the ladder: lowered again a cycle later.
    plant.die.cap = 225
    plant.run(1)
    assert plant.die.cap == 60
    wanted = Path(plant.config.wanted_caps)
    wanted.mkdir()
    (wanted / plant.card.pci).write_text("178000000\n")
    plant.fans[plant.blower().config.key].dead = False
    plant.run(100, IDLE)
    assert plant.die.cap == 178
    assert not marker.exists()


def test_a_card_released_too_early_is_held_longer(rig: Build) -> None:
    plant = rig()
    release = plant.config.ladder["release_s"]
    lengths = []
    for _ in range(2):
        plant.chip.tacho[2] = "0"
        plant.run(10, 225)
        assert ladder(plant).rung == 1
        plant.chip.tacho.clear()
        begin = plant.time
        while ladder(plant).rung:
            plant.run(1, IDLE)
        lengths.append(plant.time - begin)
    assert release <= lengths[0] < release + 15
    assert lengths[1] > 1.7 * release


def test_resume_sets_every_channel_anew_without_a_false_stall(rig: Build) -> None:
    plant = rig()
    plant.clock.slept += 86400
    for channel in plant.chip.channels.values():
        channel.mode = channel.shown_mode = 5
    plant.chip.tacho[2] = "0"  # blowers spin up after a resume
    plant.run(1, IDLE)
    assert plant.chip.channels[2].mode == 1
    plant.chip.tacho.clear()
    plant.run(10, IDLE)
    assert plant.said("RESUMED")
    assert plant.alarms() == set()


def test_status_table_and_metrics(rig: Build) -> None:
    plant = rig()
    stalled(plant)
    data = status.collect(plant.engine, True)
    table = status.table(data, 0.4)
    for word in ("gpu0 0000:03:00.0", "/105 °C", "front", "100 %", "lost", "FAN_STALLED", "emergency", "cap"):
        assert word in table
    text = metrics.text(data, plant.engine.journal.totals)
    assert 'mi50_fand_ladder_rung{gpu="gpu0"} 1' in text
    assert 'mi50_fand_alarm{subject="front",code="FAN_STALLED"} 1' in text
    assert "mi50_fand_state 2" in text
    for line in text.splitlines():
        assert line.startswith(("# HELP mi50_fand_", "# TYPE mi50_fand_")) or float(line.rsplit(" ", 1)[1]) is not None
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_what_a_driver_says_stays_on_one_line(rig: Build) -> None:
    plant = rig()
    plant.io.faults[f"{plant.card.base}/temp2_input"] = "4\n<0>forged"
    plant.run(4)
    assert all(line.count("\n") == 1 for line in plant.lines)


def test_acknowledged_card_lets_its_blower_rest(rig: Build) -> None:
    plant = rig()
    writer = publisher(plant)
    plant.card.unplug()
    plant.run(10)
    Path(plant.config.runtime, "ack").write_text(f"{plant.card.pci}\n")
    writer.publish(True)
    assert not Path(plant.config.runtime, "ack").exists()
    plant.run(150)
    assert plant.duty() < 30


def test_rivals_by_their_process_names(tmp_path: Path) -> None:
    for pid, comm in ((1, "systemd"), (77, "fancontrol"), (78, "thinkfan"), (79, "coolercontrold"), (80, "fan2go")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{comm}\n")
    (tmp_path / "meminfo").write_text("")
    found = rivals.running(str(tmp_path))
    assert found == ["CoolerControl (79)", "fan2go (80)", "fancontrol (77)", "thinkfan (78)"]


def test_lock_of_a_dead_holder_is_taken(tmp_path: Path) -> None:
    """A killed process with a thread in D state stays as a zombie that holds its lock."""
    lock = str(tmp_path / "lock")
    held = files.take_lock(lock)
    with pytest.raises(files.LockHeld, match="held by process"):
        files.take_lock(lock)
    pid = Path(lock).read_text().strip()
    (tmp_path / "proc" / pid).mkdir(parents=True)
    (tmp_path / "proc" / pid / "stat").write_text(f"{pid} (python3 (x)) Z 1 2 3")
    assert files.take_lock(lock, str(tmp_path / "proc")) > held


@pytest.mark.parametrize("named", [True, False], ids=["in the file", "not in the file any more"])
def test_a_cap_that_an_earlier_process_left_is_given_back(rig: Build, named: bool) -> None:
    plant = rig(settle=False)
    pci = plant.card.pci if named else "0000:42:00.0"
    folder = Path(plant.config.runtime, "caps")
    folder.mkdir(parents=True)
    (folder / pci).write_text("60000000 190000000\n")
    plant.die.cap = 60
    take_up(plant.engine, plant.config.runtime)
    plant.run(2, IDLE)
    assert not (folder / pci).exists()
    assert plant.die.cap == (190 if named else 60)


def test_an_exporter_that_fails_stops_nothing(rig: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = rig()
    daemon = Daemon("unused", "/sys", "/proc")
    daemon.journal.emit = plant.lines.append
    writer = publisher(plant)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("in the exporter")

    monkeypatch.setattr(status, "collect", broken)
    assert daemon._publish(writer, True, "ok") == "ok"
    assert plant.said("STATE_FAILED")
    assert files.read_heartbeat(f"{plant.config.runtime}/heartbeat")
