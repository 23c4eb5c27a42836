"""What the inventory says of whole machines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mi50.amdgpu.ids import gfx_name, product
from mi50.amdgpu.kfd import KfdNode

from lab.sysfs import CARDS, Host

GIB = 1 << 30
MI50 = CARDS["mi50:32"]


def test_one_mi50_is_described_completely_and_without_problems(machine):
    box = machine("one-mi50")
    found = box.look()
    assert found["gfx906"] == ["0000:03:00.0"]
    assert found["kfd"] is True
    assert found["module"] == {"loaded": True, "version": None}
    assert found["problems"] == []
    assert found["gpus"] == [
        {
            "pci_address": "0000:03:00.0",
            "vendor_id": "0x1002",
            "device_id": "0x66a1",
            "revision": "0x02",
            "subsystem": {"vendor": "0x1002", "device": "0x0834"},
            "class": "0x038000",
            "driver": "amdgpu",
            "is_integrated": False,
            "gfx_target": "gfx906",
            "gfx_target_source": "kfd",
            "compute_units": 60,
            "kfd_node": 1,
            "render_node": str(box.dev / "dri/renderD128"),
            "card": "card0",
            "hwmon": str(box.sys / "bus/pci/devices/0000:03:00.0/hwmon/hwmon1"),
            "vram_total": 34342961152,
            "vram_visible": 34342961152,
            "bar_size": 32 * GIB,
            "bar_ok": True,
            "vbios": "113-D1631700-111",
            "unique_id": "e642b5b54505b00e",
            "numa_node": 0,
            "link": {
                "speed_gts": 16.0,
                "width": 16,
                "max_speed_gts": 16.0,
                "max_width": 16,
                "measured_at": "0000:00:01.1",
            },
            "power_cap": {"current": 225, "min": 0, "max": 225, "default": 225},
            "ras": {
                block: {"correctable": 0, "uncorrectable": 0} for block in ("gfx", "mmhub", "pcie_bif", "sdma", "umc")
            },
            "product": "AMD Instinct MI50 32GB",
            "product_note": "66a1 is shared; told by 60 compute units and VRAM size.",
            "problems": [],
        }
    ]


@pytest.mark.parametrize(("preset", "count"), [("none", 0), ("two-mi50", 2), ("four-mi50", 4)])
def test_every_card_is_found_once_in_pci_order_with_its_own_nodes(machine, preset, count):
    found = machine(preset).look()
    addresses = [f"0000:{3 * slot:02x}:00.0" for slot in range(1, count + 1)]
    assert [gpu["pci_address"] for gpu in found["gpus"]] == found["gfx906"] == addresses
    for key in ("kfd_node", "render_node", "card", "hwmon", "unique_id"):
        assert len({gpu[key] for gpu in found["gpus"]}) == count, key
    assert [problem for gpu in found["gpus"] for problem in gpu["problems"]] == []
    assert found["problems"] == []


def test_cards_are_matched_to_kfd_nodes_by_address_not_by_order(machine):
    box = machine("two-mi50")
    nodes = box.sys / "class/kfd/kfd/topology/nodes"
    (nodes / "1").rename(nodes / "9")
    (nodes / "2").rename(nodes / "1")
    (nodes / "9").rename(nodes / "2")
    assert [gpu["kfd_node"] for gpu in box.look()["gpus"]] == [2, 1]


def test_the_16_gb_bar_is_named_with_its_vbios(machine):
    gpu = machine("bar16").gpu()
    assert (gpu["vram_visible"], gpu["bar_size"], gpu["bar_ok"]) == (16 * GIB, 16 * GIB, False)
    assert gpu["problems"] == [
        "Only 16.0 GiB of 32.0 GiB VRAM is visible through BAR 0. Vulkan has been seen to use no more than that part, "
        "ROCm uses all. VBIOS 113-D1631711-100 is known for a BAR of 16 GiB: no firmware setting changes that."
    ]


def test_a_small_bar_with_a_good_vbios_points_to_the_firmware_settings(machine):
    gpu = machine(Host((replace(MI50, bar=16 * GIB),))).gpu()
    assert gpu["bar_ok"] is False
    assert "Check Above 4G Decoding and Resizable BAR" in gpu["problems"][0]
    gpu = machine(Host((CARDS["mi50:256mbar"],))).gpu()
    assert gpu["problems"][0].startswith("Only 256 MiB of 32.0 GiB VRAM")


def test_a_bar_without_an_address_is_told(machine):
    gpu = machine(Host((replace(MI50, bar=0, driver=""),))).gpu()
    assert (gpu["bar_size"], gpu["bar_ok"]) == (0, None)
    assert any("BAR 0 has no address" in problem for problem in gpu["problems"])


def test_igpu_is_listed_as_such_and_the_bmc_is_not(machine):
    found = machine("ryzen-igpu-bmc").look()
    card, igpu = found["gpus"]
    assert (card["is_integrated"], card["card"], card["gfx_target"]) == (False, "card1", "gfx906")
    assert (igpu["is_integrated"], igpu["card"], igpu["gfx_target"]) == (True, "card2", "gfx90c")
    assert igpu["device_id"] == "0x1638"
    assert found["gfx906"] == [card["pci_address"]]
    assert igpu["problems"] == []


def test_an_apu_of_an_unknown_id_is_known_by_its_security_processor(machine):
    unknown = replace(CARDS["igpu"], device_id=0x1FFF, vram=16 * GIB, bar=16 * GIB)
    box = machine(Host((unknown,)))
    assert box.gpu("0000:30:00.0")["is_integrated"] is True
    (box.sys / "bus/pci/devices/0000:30:00.2").unlink()
    assert box.gpu("0000:30:00.0")["is_integrated"] is False


def test_a_vega_20_is_never_integrated_whatever_its_neighbours_say(machine):
    """A virtual machine may put passed-through functions into one slot."""
    box = machine("one-mi50")
    psp = box.sys / "bus/pci/devices/0000:03:00.2"
    psp.mkdir()
    for name, text in (("vendor", "0x1022"), ("class", "0x108000")):
        (psp / name).write_text(f"{text}\n")
    assert box.gpu()["is_integrated"] is False


def test_an_apu_is_known_by_a_kfd_node_with_cores_and_simds(machine):
    box = machine(Host((replace(CARDS["igpu"], device_id=0x1FFF),)))
    (box.sys / "bus/pci/devices/0000:30:00.2").unlink()
    properties = box.sys / "class/kfd/kfd/topology/nodes/1/properties"
    properties.write_text(properties.read_text().replace("cpu_cores_count 0", "cpu_cores_count 8"))
    assert box.gpu("0000:30:00.0")["is_integrated"] is True


def test_radeon_vii_is_gfx906_and_needs_its_bar_opened(machine):
    found = machine("radeon-vii").look()
    gpu = found["gpus"][0]
    assert found["gfx906"] == ["0000:03:00.0"]
    assert (gpu["product"], gpu["ras"], gpu["link"]["max_speed_gts"]) == ("AMD Radeon VII", None, 8.0)
    assert gpu["bar_ok"] is False


def test_mi60_shares_the_id_and_is_told_by_its_compute_units(machine):
    gpu = machine("mi60").gpu()
    assert gpu["device_id"] == "0x66a1"
    assert gpu["product"] == "AMD Instinct MI60 32GB"
    assert machine(Host((replace(CARDS["mi60"], device_id=0x66A0),))).gpu()["product"] == "AMD Instinct MI60 32GB"


@pytest.mark.parametrize(
    ("arguments", "name", "noted"),
    [
        ((0x66A1, 0x06, 60, 17163091968), "AMD Radeon Pro VII", True),
        ((0x66A1, 0x02, 60, 17163091968), "AMD Instinct MI50 16GB", True),
        ((0x66A1, 0x01, None, 34342961152), "AMD Instinct MI50 or MI60 32GB", True),
        ((0x66A0, None, None, None), "AMD Instinct MI50 or MI60", True),
        ((0x66A3, 0x00, 64, 34342961152), "AMD Radeon Pro Vega II", False),
        ((0x744C, 0xC8, 96, 24 * GIB), "AMD GPU 744c", False),
    ],
)
def test_product_says_what_the_ids_can_and_cannot_tell(arguments, name, noted):
    found, note = product(*arguments)
    assert (found, note is not None) == (name, noted)


@pytest.mark.parametrize(
    ("version", "name"),
    [(90006, "gfx906"), (90010, "gfx90a"), (90012, "gfx90c"), (90402, "gfx942"), (100300, "gfx1030"), (0, None)],
)
def test_gfx_names(version, name):
    assert gfx_name(version) == name


def test_without_a_driver_the_target_comes_from_the_id_and_one_sentence_says_so(machine):
    box = machine("unbound")
    found = box.look()
    gpu = found["gpus"][0]
    assert (gpu["driver"], gpu["kfd_node"], gpu["vram_total"], gpu["bar_ok"]) == (None, None, None, None)
    assert (gpu["gfx_target"], gpu["gfx_target_source"]) == ("gfx906", "device-id")
    assert gpu["bar_size"] == 32 * GIB
    assert len(gpu["problems"]) == 1
    assert gpu["problems"][0].startswith("No driver is bound, so only PCI data is known")
    assert found["module"] == {"loaded": False, "version": None}
    assert found["problems"] == [f"{box.dev / 'kfd'} does not exist: nothing can compute on the GPUs."]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nomodeset", "has nomodeset"),
        ("modprobe.blacklist=nouveau,amdgpu", "blacklists amdgpu"),
        ("module_blacklist=amdgpu", "blacklists amdgpu"),
        ("amdgpu.noretry=1", "linux-modules-extra"),
    ],
)
def test_the_kernel_command_line_explains_a_missing_driver(machine, option, words):
    box = machine("unbound")
    (box.proc / "cmdline").write_text(f"root=/dev/sda2 {option} quiet\n")
    assert words in box.gpu()["problems"][0]


def test_a_card_given_to_a_virtual_machine_is_not_called_usable(machine):
    gpu = machine(Host((replace(MI50, driver="vfio-pci"),))).gpu()
    assert gpu["driver"] == "vfio-pci"
    assert "vfio-pci is bound instead of amdgpu" in gpu["problems"][0]


def test_a_card_kfd_skipped_is_told_with_the_likely_cause(machine):
    gpu = machine(Host((replace(MI50, kfd=False),))).gpu()
    assert (gpu["kfd_node"], gpu["gfx_target"], gpu["gfx_target_source"]) == (None, "gfx906", "device-id")
    assert "PCIe atomics" in gpu["problems"][0]
    assert gpu["product"] == "AMD Instinct MI50 or MI60 32GB"


def test_a_riser_shows_although_the_gpu_itself_reports_x16(machine):
    box = machine("riser")
    assert (box.device() / "current_link_width").read_text() == "16\n"
    gpu = box.gpu()
    assert gpu["link"] == {
        "speed_gts": 2.5,
        "width": 1,
        "max_speed_gts": 16.0,
        "max_width": 16,
        "measured_at": "0000:00:01.1",
    }
    assert gpu["problems"][0].startswith("PCIe runs at x1 of x16 (2.5 GT/s, at 0000:00:01.1)")


def test_a_lower_speed_alone_is_no_problem_because_idle_cards_lower_it(machine):
    gpu = machine(Host((replace(MI50, slot_link=(8.0, 16)),))).gpu()
    assert (gpu["link"]["speed_gts"], gpu["link"]["max_speed_gts"]) == (8.0, 16.0)
    assert gpu["problems"] == []


def test_dkms_is_recognised_by_the_version_of_the_module(machine):
    found = machine(Host((MI50,), module_version="6.12.12")).look()
    assert found["module"] == {"loaded": True, "version": "6.12.12"}


def test_memory_errors_are_told(machine):
    box = machine("one-mi50")
    (box.device() / "ras/umc_err_count").write_text("ue: 2\nce: 17\n")
    gpu = box.gpu()
    assert gpu["ras"]["umc"] == {"correctable": 17, "uncorrectable": 2}
    assert gpu["problems"][0].startswith("2 uncorrectable errors in umc")


def test_a_missing_render_node_is_told(machine):
    box = machine("one-mi50")
    (box.dev / "dri/renderD128").unlink()
    assert box.gpu()["problems"] == [f"{box.dev / 'dri/renderD128'} does not exist in {box.dev}."]


def test_location_id_holds_bus_device_and_function():
    assert KfdNode(1, {"location_id": 0x0A << 8 | 0x1F << 3 | 5, "domain": 1}, None).address == "0001:0a:1f.5"


def test_other_pci_domains_are_matched_too(machine):
    box = machine("one-mi50")
    devices = box.sys / "bus/pci/devices"
    (devices / "0000:03:00.0").rename(devices / "10000:03:00.0")
    properties = box.sys / "class/kfd/kfd/topology/nodes/1/properties"
    properties.write_text(properties.read_text().replace("domain 0", "domain 65536"))
    found = box.look()
    assert found["gfx906"] == ["10000:03:00.0"]
    assert found["gpus"][0]["kfd_node"] == 1
