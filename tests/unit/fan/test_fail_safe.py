"""mi50-fan-full: the shell's own way to full speed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.fan.conftest import ARCTIC, FAILSAFE, IT87, NCT, NCT7802, W83795, Board

SHELLS = [shell for shell in ("dash", "bash --posix", "busybox sh") if shutil.which(shell.split()[0])]


def line(device: str, chip: str, number: int, name: str = "left") -> str:
    return f"{device}\t{chip}\t{number}\t{name}"


@pytest.mark.parametrize("shell", SHELLS)
def test_owned_channels_and_no_others(board: Board, shell: str) -> None:
    before = board.every_pwm()
    done = board.full(board.lists("# head", line(NCT, "nct6798", 2), line(W83795, "w83795g", 1)), shell=shell)
    assert done.returncode == 0, done.stderr
    changed = {Path(path).parts[-3:] for path, value in board.every_pwm().items() if value != before[path]}
    assert changed == {("hwmon", "hwmon3", "pwm2"), ("i2c-0", "0-002f", "pwm1")}
    assert (board.read(NCT, "pwm2"), board.read(NCT, "pwm2_enable")) == ("255", "1")
    assert done.stderr.count("FULL_SPEED") == 2


def test_there_are_several_shells() -> None:
    assert "dash" in SHELLS and len(SHELLS) >= 2


def test_both_lists_count(board: Board) -> None:
    one = board.lists(line(NCT, "nct6798", 1))
    two = board.lists(line(NCT, "nct6798", 3), name="run")
    assert board.full(one, two).returncode == 0
    assert [board.read(NCT, f"pwm{n}") for n in (1, 2, 3)] == ["255", "64", "255"]


def test_comments_alone_mean_that_nothing_is_owned(board: Board) -> None:
    before = board.every_pwm()
    assert board.full(board.lists("# nothing")).returncode == 0
    assert board.every_pwm() == before


@pytest.mark.parametrize(
    "lines",
    [
        None,
        (),
        (f"{NCT}\tnct6798",),
        (line("/etc", "nct6798", 1),),
        (line("devices/../../etc", "x", 1),),
        (line(NCT, "nct6798", 0),),
        (f"{NCT}\tnct6798\t2x\tleft",),
        (line("devices/pci0000:00/x", "amdgpu", 1),),
        ("\x00\x00\x00",),
        (line(NCT, "nct6798", 2) + "\tmore",),
    ],
)
def test_a_list_that_cannot_be_trusted_raises_every_header_and_no_card(
    board: Board, lines: tuple[str, ...] | None
) -> None:
    listed = board.home / "missing" if lines is None else board.lists(*lines)
    done = board.full(listed)
    cards = {path: value for path, value in board.every_pwm().items() if "0000:0" in path and "/hwmon/hwmon" in path}
    phantom = [value for path, value in cards.items() if "/0000:03:00.0/" in path or "/0000:06:00.0/" in path]
    assert phantom == ["37", "37"]
    rest = [v for p, v in board.every_pwm().items() if "/0000:03:00.0/" not in p and "/0000:06:00.0/" not in p]
    assert len(rest) == 7 + 6 + 8 + 3 + 10
    assert set(rest) == {"255"}
    assert "raising every channel" in done.stderr


def test_a_chip_that_moved_or_was_renamed_is_found_by_name(board: Board) -> None:
    (board.attributes(IT87) / "name").write_text("it8696_a008090a\n")
    done = board.full(board.lists(line("devices/platform/it87.9999", "it8696", 4)))
    assert done.returncode == 0
    assert board.read(IT87, "pwm4") == "255"
    assert "by name" in done.stderr


def test_a_channel_that_is_nowhere_is_said_and_counts(board: Board) -> None:
    done = board.full(board.lists(line("devices/platform/x", "nct9999", 1), line(NCT, "nct6798", 1)))
    assert done.returncode == 1
    assert "<1>WRITE_FAILED nct9999 pwm1" in done.stderr
    assert board.read(NCT, "pwm1") == "255", "one that fails held up another"


def test_usb_controllers_get_all_channels_because_one_write_carries_them_all(board: Board) -> None:
    assert board.full(board.lists(line(ARCTIC, "arctic_fan", 3))).returncode == 0
    assert {board.read(ARCTIC, f"pwm{n}") for n in range(1, 11)} == {"255"}


def written(board: Board, device: str, chip: str) -> list[str]:
    """What is written to the mode of channel 1, in order: a copy of the script tells it.

    The shell's own trace would not do: the channels' shells write theirs at once, and one's words end up in another's.
    """
    listed, told, copy = board.lists(line(device, chip, 1)), board.home / "told", board.home / "mi50-fan-full"
    begins, script = "put() {", (FAILSAFE / "mi50-fan-full").read_text()
    assert script.count(begins) == 1
    telling = f"""{begins} printf '%s %s\\n' "$1" "$2" >>{told}\n#"""
    copy.write_text(script.replace(begins, telling))
    told.write_text("")
    subprocess.run(["sh", str(copy), "--sysfs-root", str(board.sys), "--list", str(listed)], check=True)
    return [words.split()[-1] for words in told.read_text().splitlines() if "pwm1_enable" in words]


def test_only_the_chip_whose_driver_swallows_a_repeated_mode_is_toggled(board: Board) -> None:
    assert written(board, NCT7802, "nct7802") == ["2", "1"]
    assert written(board, NCT, "nct6798") == ["1"]


def test_mode_0_comes_last_and_a_refused_one_is_no_reason_to_stop(board: Board) -> None:
    """A channel whose duty does not take: here a folder stands in its place, so that every write fails."""
    chip = board.attributes(NCT)
    (chip / "pwm1").unlink()
    (chip / "pwm1").mkdir()
    assert board.full(board.lists(line(NCT, "nct6798", 1))).returncode == 0
    assert board.read(NCT, "pwm1_enable") == "0"
    (chip / "pwm1_enable").unlink()
    assert board.full(board.lists(line(NCT, "nct6798", 1))).returncode == 1


def test_a_channel_that_hangs_holds_up_neither_the_others_nor_the_end(board: Board) -> None:
    chip = board.attributes(IT87)
    (chip / "pwm1").unlink()
    os.mkfifo(chip / "pwm1")  # opening it for writing waits for a reader that never comes
    began = time.monotonic()
    done = board.full(board.lists(line(IT87, "it8696", 1), line(NCT, "nct6798", 2)))
    assert time.monotonic() - began < 10
    assert done.returncode == 1
    assert "WRITE_HUNG" in done.stderr
    assert board.read(NCT, "pwm2") == "255"


def test_early_boot_waits_for_the_driver(board: Board) -> None:
    chip = board.attributes(NCT)
    chip.rename(chip.with_name("late"))
    listed = board.lists(line(NCT, "nct6798", 2))
    argv = ["sh", str(FAILSAFE / "mi50-fan-full"), "--sysfs-root", str(board.sys), "--list", str(listed), "--wait", "8"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        chip.with_name("late").rename(chip)
        assert process.wait(10) == 0
    assert board.read(NCT, "pwm2") == "255"


@pytest.mark.parametrize("words", [["--wait"], ["--wait", "x"], ["--speed", "9"]])
def test_wrong_usage(board: Board, words: list[str]) -> None:
    assert board.run("mi50-fan-full", *words).returncode == 2
