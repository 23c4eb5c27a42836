"""mi50-fan-guardian: what it makes of temperatures and a heartbeat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fan.conftest import NCT, Board

NOW = float(Path("/proc/uptime").read_text().split()[0])


class Watch:
    """One look of the guardian at a board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.runtime = board.home / "run"
        self.runtime.mkdir()
        self.config = board.home / "config.json"
        self.config.write_text("{}")
        self.metrics = board.home / "guardian.prom"
        self.called = board.home / "called"
        self.fake = board.home / "full"
        self.fake.write_text(f'#!/bin/sh\necho "$@" >>{self.called}\n')
        self.fake.chmod(0o755)

    def heat(self, celsius: float, sensor: str = "temp2_input") -> None:
        (self.board.sys / f"class/hwmon/hwmon1/{sensor}").write_text(f"{round(celsius * 1000)}\n")

    def beat(self, age: float) -> None:
        seconds = float(Path("/proc/uptime").read_text().split()[0])
        (self.runtime / "heartbeat").write_text(f"{seconds - age:.1f} ok\n")

    def look(self, *words: str) -> str:
        """State that it came to."""
        own = ("--runtime", self.runtime, "--config", self.config, "--metrics", self.metrics, "--full", self.fake)
        self.done = self.board.run("mi50-fan-guardian", *map(str, own), *words)
        number = self.metrics.read_text().split("mi50_fan_guardian_state ")[-1].split()[0]
        return ("ok", "silent", "hot", "critical")[int(number)]

    @property
    def raised(self) -> bool:
        return self.called.exists()


@pytest.fixture
def watch(board: Board) -> Watch:
    return Watch(board)


@pytest.mark.parametrize(
    ("celsius", "age", "state", "raised"),
    [
        (40, 1, "ok", False),
        (90, 1, "ok", False),  # the daemon is at it
        (98, 1, "critical", True),  # it is not, whatever it says
        (86, 60, "hot", True),
        (86, None, "hot", True),
        (86, -60, "hot", True),  # a heartbeat from the future is none
        (84, None, "ok", False),  # the first silent look is a suspicion only
    ],
)
def test_states(watch: Watch, celsius: int, age: float | None, state: str, raised: bool) -> None:
    watch.heat(celsius)
    if age is not None:
        watch.beat(age)
    assert watch.look() == state
    assert watch.raised is raised
    assert watch.done.returncode == 0


def test_silence_is_an_alarm_the_second_time_and_said_once(watch: Watch) -> None:
    assert (watch.look(), watch.look()) == ("ok", "silent")
    assert "GUARDIAN silent" in watch.done.stderr
    watch.look()
    assert watch.done.stderr == ""
    watch.beat(1)
    assert watch.look() == "ok"
    assert "GUARDIAN ok (was silent)" in watch.done.stderr
    assert not watch.raised


def test_without_a_configuration_nobody_is_missed(watch: Watch) -> None:
    watch.config.unlink()
    assert [watch.look(), watch.look()] == ["ok", "ok"]
    watch.heat(86)
    assert watch.look() == "hot"
    assert watch.raised


@pytest.mark.parametrize("text", ["", "garbage", "0", "511000", "-273000"])
def test_a_sensor_that_makes_no_sense_is_not_cool(watch: Watch, text: str) -> None:
    (watch.board.sys / "class/hwmon/hwmon1/temp2_input").write_text(text)
    assert watch.look() == "hot"
    assert watch.raised
    watch.beat(1)
    assert watch.look() == "ok"


def test_any_sensor_of_any_card_counts(watch: Watch) -> None:
    (watch.board.sys / "class/hwmon/hwmon2/temp3_input").write_text("99000\n")
    watch.beat(1)
    assert watch.look() == "critical"


def test_a_card_that_sleeps_is_left_asleep(watch: Watch) -> None:
    (watch.board.sys / "class/hwmon/hwmon1/device/power/runtime_status").write_text("suspended\n")
    watch.heat(120)
    watch.beat(1)
    assert watch.look() == "ok"


def test_alarm_program_is_told_on_a_change(watch: Watch) -> None:
    told = watch.board.home / "told"
    program = watch.board.home / "alarm"
    program.write_text(f'#!/bin/sh\nprintf "%s|%s\\n" "$1" "$2" >>{told}\n')
    program.chmod(0o755)
    watch.heat(90)
    for _ in range(3):
        watch.look("--alarm", str(program))
    assert [row.split("|")[0] for row in told.read_text().splitlines()] == ["hot"]


def test_its_own_end_is_a_reason(watch: Watch) -> None:
    watch.beat(1)
    assert watch.look("--failed", "timeout") == "hot"
    assert watch.raised


def test_full_speed_that_failed_fails_the_unit(watch: Watch) -> None:
    watch.fake.write_text("#!/bin/sh\nexit 1\n")
    watch.heat(99)
    watch.look()
    assert watch.done.returncode == 1


def test_it_ends_with_the_real_fail_safe(watch: Watch) -> None:
    real = watch.board.home / "real"
    listed = watch.board.lists(f"{NCT}\tnct6798\t2\tleft")
    tool = Path(__file__).resolve().parents[3] / "roles/fan_control/files/failsafe/mi50-fan-full"
    real.write_text(f'#!/bin/sh\nexec {tool} "$@" --list {listed}\n')
    real.chmod(0o755)
    watch.heat(99)
    watch.look("--full", str(real))
    assert watch.board.read(NCT, "pwm2") == "255"


@pytest.mark.parametrize("words", [["--high", "x"], ["--unknown", "1"], ["--high"]])
def test_wrong_usage(watch: Watch, words: list[str]) -> None:
    assert watch.board.run("mi50-fan-guardian", *words).returncode == 2
