"""Files that are missing, empty, garbage or refuse to be read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mi50.amdgpu import attributes, collect

from lab.sysfs import build


def test_half_missing_files_give_none_and_a_line_each(machine):
    gpu = machine("half-missing").gpu()
    for key in ("vram_visible", "vbios", "numa_node", "ras"):
        assert gpu[key] is None, key
    assert gpu["power_cap"] == {"current": 225, "min": None, "max": 225, "default": None}
    assert gpu["bar_ok"] is True  # by the size of BAR 0
    assert gpu["unique_id"] == "e642b5b54505b00e"  # by KFD
    assert gpu["problems"] == [
        "Visible VRAM unknown: mem_info_vis_vram_total does not exist.",
        "VBIOS version unknown: vbios_version does not exist.",
        "NUMA node unknown: numa_node does not exist.",
        "PCIe width unknown: current_link_width does not exist.",
        "Lowest power cap unknown: power1_cap_min does not exist.",
        "Default power cap unknown: power1_cap_default does not exist.",
    ]


@pytest.mark.parametrize(
    "content",
    ["", "\n", "N/A", "-5", "1e9", "0x10", "1_000", "١٢٣", "9" * 30, "34342961152 bytes", "\x00\x01"],
)
def test_garbage_in_a_number_is_none_with_a_sentence(machine, content):
    box = machine("one-mi50")
    (box.device() / "mem_info_vis_vram_total").write_text(content)
    (box.device() / "hwmon/hwmon1/power1_cap").write_text(content)
    gpu = box.gpu()
    assert gpu["vram_visible"] is None
    assert gpu["power_cap"]["current"] is None
    assert gpu["bar_ok"] is True
    assert sorted(problem.split(" unknown: ")[0] for problem in gpu["problems"]) == ["Power cap", "Visible VRAM"]


def test_vram_size_falls_back_to_kfd_and_says_so(machine):
    box = machine("one-mi50")
    (box.device() / "mem_info_vram_total").write_text("0\n")
    gpu = box.gpu()
    assert gpu["vram_total"] == 34342961152
    assert gpu["problems"] == [
        "VRAM size unknown: mem_info_vram_total reads '0', not a number from 1 up.",
        "VRAM size taken from KFD's memory banks instead.",
    ]


def test_a_directory_in_the_place_of_a_file_is_told(machine):
    box = machine("one-mi50")
    (box.device() / "vbios_version").unlink()
    (box.device() / "vbios_version").mkdir()
    gpu = box.gpu()
    assert gpu["vbios"] is None
    assert gpu["problems"] == ["VBIOS version unknown: vbios_version is not a file."]


def test_a_fifo_in_the_place_of_a_file_does_not_hang(machine):
    box = machine("one-mi50")
    (box.device() / "vbios_version").unlink()
    os.mkfifo(box.device() / "vbios_version")
    assert box.gpu()["problems"] == ["VBIOS version unknown: vbios_version is empty."]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EIO, "gives an I/O error"),
        (errno.EACCES, "must not be read by this user"),
        (errno.EPERM, "is refused"),
        (errno.ENODATA, "has no data"),
        (errno.ETIMEDOUT, "cannot be read (Connection timed out)"),
    ],
)
def test_errors_of_the_kernel_become_words(machine, monkeypatch, code, words):
    box = machine("one-mi50")
    real = os.open

    def failing(path, *arguments):
        if Path(path).name == "power1_cap":
            raise OSError(code, os.strerror(code))
        return real(path, *arguments)

    monkeypatch.setattr(attributes.os, "open", failing)
    gpu = box.gpu()
    assert gpu["power_cap"]["current"] is None
    assert len(gpu["problems"]) == 1
    assert gpu["problems"][0].startswith(f"Power cap unknown: power1_cap {words}")


def test_an_unreadable_kfd_node_is_a_problem_of_the_host(machine):
    box = machine("one-mi50")
    (box.sys / "class/kfd/kfd/topology/nodes/1/properties").unlink()
    found = box.look()
    assert found["problems"] == ["KFD node 1 unknown: properties does not exist."]
    assert found["gpus"][0]["gfx_target_source"] == "device-id"


@pytest.mark.parametrize("width", ["0", "63", "255"])
def test_an_impossible_link_width_is_not_believed(machine, width):
    box = machine("one-mi50")
    (box.device() / "current_link_width").write_text(width)
    gpu = box.gpu()
    assert gpu["link"]["width"] == 16  # the switch above still knows
    assert gpu["problems"] == [f"PCIe width unknown: current_link_width reads {width}, no link has that many lanes."]


def test_ras_switched_off_is_told_without_numbers(machine):
    box = machine("one-mi50")
    (box.device() / "ras/umc_err_count").write_text("Query currently inaccessible\n")
    gpu = box.gpu()
    assert gpu["ras"]["umc"] == {"correctable": None, "uncorrectable": None}
    assert "Error count of umc unknown" in gpu["problems"][0]


def test_no_pci_bus_at_all_is_told(tmp_path):
    found = collect(tmp_path, tmp_path, tmp_path)
    assert found["gpus"] == found["gfx906"] == []
    assert found["problems"] == [f"No PCI bus: {tmp_path / 'bus/pci/devices'} does not exist."]


def test_ids_that_cannot_be_read_hide_the_device_but_nothing_else(machine):
    box = machine("two-mi50")
    (box.device() / "device").write_text("zz\n")
    assert box.look()["gfx906"] == ["0000:06:00.0"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pristine") / "sys"
    build(root, "ryzen-igpu-bmc")
    return root


def _break(path: Path, kind: str, garbage: bytes) -> None:
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    if kind == "garbage":
        path.write_bytes(garbage)
    elif kind == "directory":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere/at/all")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "fifo":
        os.mkfifo(path)


_DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["delete", "garbage", "directory", "dangling", "loop", "fifo"]),
        st.binary(max_size=40) | st.text(alphabet="0123456789abcdefx-. \n", max_size=30).map(str.encode),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(damage=_DAMAGE)
def test_no_damage_to_the_tree_ever_raises(pristine, damage):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "sys"
        shutil.copytree(pristine, root, symlinks=True)
        # Every path the inventory could meet, links and directories included, in a fixed order.
        paths = sorted(path for path in root.rglob("*") if path.relative_to(root).parts[0] != "devices")
        paths += sorted(root.glob("devices/pci0000:00/**/*"))
        for index, kind, garbage in damage:
            _break(paths[index % len(paths)], kind, garbage)
        found = collect(root, root / "proc", root / "dev")
    assert json.loads(json.dumps(found)) == found
    for gpu in found["gpus"]:
        assert gpu["vendor_id"] == "0x1002"
        assert all(problem.isprintable() and problem.endswith(".") for problem in gpu["problems"])
        if gpu["driver"] == "amdgpu" and not gpu["is_integrated"]:
            unknown = [key for key in ("vram_total", "vram_visible", "vbios", "hwmon", "kfd_node") if gpu[key] is None]
            assert len(gpu["problems"]) >= len(unknown)
