"""The stand-in for /sys: shaped like a kernel's, repeatable, and careful with what it overwrites."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mi50.amdgpu import collect

from lab.sysfs import CARDS, PRESETS, build, device_nodes, host_of
from lab.sysfs.__main__ import main


def _snapshot(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_link_is_relative_and_stays_inside(tmp_path, preset):
    build(tmp_path / "sys", preset)
    links = [path for path in (tmp_path / "sys").rglob("*") if path.is_symlink()]
    assert links
    for link in links:
        assert not link.readlink().is_absolute(), link
        assert link.exists(), link
        assert tmp_path / "sys" in link.resolve().parents, link


def test_shape_is_the_kernels(tmp_path):
    build(tmp_path, "one-mi50")
    device = tmp_path / "bus/pci/devices/0000:03:00.0"
    assert str(device.readlink()) == ("../../../devices/pci0000:00/0000:00:01.1/0000:01:00.0/0000:02:00.0/0000:03:00.0")
    assert (device / "driver").readlink().name == "amdgpu"
    assert (tmp_path / "class/drm/card0/device").resolve() == device.resolve()
    assert (tmp_path / "class/hwmon/hwmon1/device").resolve() == device.resolve()
    assert (tmp_path / "class/hwmon/hwmon0/name").read_text() == "k10temp\n"
    assert (tmp_path / "bus/pci/drivers/amdgpu/0000:03:00.0").resolve() == device.resolve()
    hwmon = tmp_path / "class/hwmon/hwmon1"
    read = {name: (hwmon / name).read_text().strip() for name in ("temp2_label", "temp2_crit", "fan1_input", "pwm1")}
    assert read == {"temp2_label": "junction", "temp2_crit": "105000", "fan1_input": "0", "pwm1": "37"}
    assert len((device / "resource").read_text().splitlines()) == 13


def test_a_seed_gives_the_same_tree_again_and_another_seed_other_ids(tmp_path):
    for name, seed in (("a", "x"), ("b", "x"), ("c", "y")):
        assert main(["--out", str(tmp_path / name), "--preset", "two-mi50", "--seed", seed]) == 0
    first, second, third = (_snapshot(tmp_path / name) for name in "abc")
    assert first == second
    changed = {Path(name).name for name in first if first[name] != third[name]}
    assert changed == {"unique_id", "properties", "gpu_id"}


def test_its_own_tree_is_replaced_as_a_whole(tmp_path):
    build(tmp_path / "sys", "four-mi50")
    build(tmp_path / "sys", "one-mi50")
    build(tmp_path / "fresh", "one-mi50")
    assert _snapshot(tmp_path / "sys") == _snapshot(tmp_path / "fresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "sys"]


def test_foreign_directories_are_left_alone(tmp_path, capsys):
    (tmp_path / "photo").write_text("mine")
    assert main(["--out", str(tmp_path), "--preset", "one-mi50"]) == 1
    assert "was not written by lab.sysfs" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photo"]


@pytest.mark.parametrize("arguments", [[], ["--preset", "one-mi50"], ["--out", "x", "--card", "gtx"]])
def test_unclear_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_unknown_names_list_what_is_known(tmp_path):
    with pytest.raises(ValueError, match="one-mi50"):
        build(tmp_path, "three-mi50")


def test_a_full_board_has_every_card_at_its_own_address(tmp_path, capsys):
    fifteen = ["--card", "mi50:32"] * 15
    assert main(["--out", str(tmp_path / "sys"), "--card", "igpu", "--bmc", *fifteen]) == 0
    found = collect(tmp_path / "sys", tmp_path, tmp_path)
    assert len(found["gfx906"]) == 15
    assert len(found["gpus"]) == 16
    assert main(["--out", str(tmp_path / "sys"), "--card", "mi50:32", *fifteen]) == 1
    assert "takes 15 cards" in capsys.readouterr().err


def test_device_nodes_fit_the_tree(tmp_path):
    build(tmp_path, "ryzen-igpu-bmc")
    nodes = device_nodes(host_of("ryzen-igpu-bmc"))
    for path, major, minor in nodes:
        place = "class/kfd/kfd" if path == "kfd" else f"class/drm/{Path(path).name}"
        assert (tmp_path / place / "dev").read_text() == f"{major}:{minor}\n"
    assert [path for path, _, _ in nodes][:2] == ["kfd", "dri/card0"]
    assert device_nodes(host_of("unbound")) == []


def test_command_line_needs_nothing_but_python(tmp_path, repo_root):
    """As on a bare node: isolated interpreter, no site-packages, the checkout as working directory."""
    cards = [word for name in sorted(CARDS) for word in ("--card", name)]
    program = "import sys; sys.path.insert(0, '.'); from lab.sysfs.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "--out", str(tmp_path / "sys"), "--bmc", "--list-devices", *cards],
        cwd=repo_root,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["kfd c 235 0", "dri/card0 c 226 0"]
    assert len(list((tmp_path / "sys/class/hwmon").iterdir())) == 1 + len(CARDS)


def test_a_board_has_fan_chips_where_it_says_so(tmp_path):
    build(tmp_path / "plain", "one-mi50")
    build(tmp_path / "fan", "one-mi50-fan")
    assert not list((tmp_path / "plain").rglob("pwm2"))
    hwmon = tmp_path / "fan/class/hwmon/hwmon2"
    assert (hwmon / "device").resolve() == tmp_path / "fan/devices/platform/nct6775.656"
    read = {name: (hwmon / name).read_text().strip() for name in ("name", "pwm2", "pwm2_enable", "fan2_input")}
    assert read == {"name": "nct6798", "pwm2": "64", "pwm2_enable": "5", "fan2_input": "753"}
    assert (hwmon / "pwm7_auto_point7_pwm").read_text() == "192\n"


def test_chips_of_the_old_registration_keep_their_attributes_in_the_device(tmp_path):
    assert main(["--out", str(tmp_path / "sys"), "--card", "mi50:32", "--fan", "w83795g", "--fan", "arctic_fan"]) == 0
    old, usb = (tmp_path / f"sys/class/hwmon/hwmon{number}" for number in (2, 3))
    assert not (old / "name").exists() and not (old / "pwm1").exists()
    assert (old / "device/name").read_text() == "w83795g\n"
    assert (old / "device/pwm8").is_file()
    assert (usb / "pwm10").is_file() and not (usb / "pwm1_enable").exists()
