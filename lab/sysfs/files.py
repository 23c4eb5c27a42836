"""Contents of the files of one PCI device, drm node, hwmon and RAS directory: name -> text without the newline."""

from __future__ import annotations

from .model import MIB, Card, Placed

MEM64_PREFETCH = 0x14220C  # kernel's ioport.h flags: memory, 64 bit, prefetchable
MEM32 = 0x40200
ROM = 0x46200


def resource_lines(regions: dict[int, tuple[int, int, int]]) -> str:
    """The 13 lines of `resource`: start, end, flags; six BARs, the ROM, then the bridge windows."""
    lines = []
    for index in range(13):
        start, size, flags = regions.get(index, (0, 0, 0))
        end = start + size - 1 if size else 0
        lines.append(f"0x{start:016x} 0x{end:016x} 0x{flags:016x}")
    return "\n".join(lines)


def pci_identity(vendor: int, device: int, subsystem: tuple[int, int], pci_class: int, revision: int) -> dict[str, str]:
    """Configuration-space files every PCI device has."""
    return {
        "vendor": f"0x{vendor:04x}",
        "device": f"0x{device:04x}",
        "subsystem_vendor": f"0x{subsystem[0]:04x}",
        "subsystem_device": f"0x{subsystem[1]:04x}",
        "class": f"0x{pci_class:06x}",
        "revision": f"0x{revision:02x}",
        "enable": "1",
        "power_state": "D0",
        "numa_node": "-1",
        "modalias": f"pci:v{vendor:08X}d{device:08X}sv{subsystem[0]:08X}sd{subsystem[1]:08X}"
        f"bc{pci_class >> 16:02X}sc{pci_class >> 8 & 255:02X}i{pci_class & 255:02X}",
        "resource": resource_lines({}),
    }


def link_files(current: tuple[float, int], maximum: tuple[float, int]) -> dict[str, str]:
    """PCIe link of one hop, in the wording of kernels since 5.12."""
    return {
        "current_link_speed": f"{current[0]:.1f} GT/s PCIe",
        "current_link_width": str(current[1]),
        "max_link_speed": f"{maximum[0]:.1f} GT/s PCIe",
        "max_link_width": str(maximum[1]),
    }


def gpu_pci_files(placed: Placed, slot: int) -> dict[str, str]:
    """Everything a GPU function shows whether or not a driver is bound."""
    card = placed.card
    files = pci_identity(0x1002, card.device_id, card.subsystem, card.pci_class, card.revision)
    # Inside the card the link is always the full one; only the switch in front of it knows the slot.
    inner = card.card_link if card.has_switch else card.slot_link
    files.update(link_files(inner, card.card_link))
    base = 0x5F800000000 + slot * 0x1000000000
    regions = {
        0: (base, card.bar, MEM64_PREFETCH),
        2: (base + 0x800000000, 2 * MIB, MEM64_PREFETCH),
        5: (0xBF900000 + slot * 0x200000, MIB // 2, MEM32),
        6: (0xBF980000 + slot * 0x200000, MIB // 8, ROM),
    }
    files["resource"] = resource_lines(regions)
    files["numa_node"] = "-1" if card.integrated else "0"
    files["irq"] = str(66 + slot)
    files["uevent"] = "\n".join(
        [
            *([f"DRIVER={card.driver}"] if card.driver else []),
            f"PCI_CLASS={card.pci_class:X}",
            f"PCI_ID=1002:{card.device_id:04X}",
            f"PCI_SUBSYS_ID={card.subsystem[0]:04X}:{card.subsystem[1]:04X}",
            f"PCI_SLOT_NAME={placed.address}",
            f"MODALIAS={files['modalias']}",
        ]
    )
    return files


def amdgpu_files(placed: Placed) -> dict[str, str]:
    """What amdgpu adds to the PCI device."""
    card = placed.card
    files = {
        "mem_info_vram_total": str(card.vram),
        "mem_info_vram_used": str(12103680),
        "mem_info_vis_vram_total": str(card.visible_vram),
        "mem_info_vis_vram_used": str(12103680),
        "mem_info_gtt_total": str(32 << 30),
        "mem_info_gtt_used": str(14 * MIB),
        "mem_info_vram_vendor": "hynix",
        "vbios_version": card.vbios,
        "gpu_busy_percent": "0",
        "mem_busy_percent": "0",
        "power_dpm_force_performance_level": "auto",
        "power_dpm_state": "performance",
        "pp_dpm_sclk": "0: 925Mhz *\n1: 1134Mhz\n2: 1725Mhz",
        "pp_dpm_mclk": "0: 350Mhz *\n1: 800Mhz\n2: 1000Mhz",
        "pcie_replay_count": "0",
        "power/runtime_status": "active",
        "power/control": "on",
    }
    if not card.integrated:
        files["unique_id"] = placed.unique_id
    if card.has_ras:
        files["ras/features"] = "feature mask: 0x3fff"
        for block in ("umc", "sdma", "gfx", "mmhub", "pcie_bif"):
            files[f"ras/{block}_err_count"] = "ue: 0\nce: 0"
    return files


def hwmon_files(card: Card) -> dict[str, str]:
    """amdgpu's hwmon. Limits of the stock PowerPlay table: 100/105/94, emergency = limit + 5 (fan-control.md 2.1)."""
    files = {"name": "amdgpu", "in0_input": "762", "in0_label": "vddgfx", "freq1_input": "925000000"}
    files["freq1_label"] = "sclk"
    sensors = (("edge", 100), ("junction", 105), ("mem", 94))
    for index, (label, limit) in enumerate(sensors[:1] if card.integrated else sensors):
        files[f"temp{index + 1}_label"] = label
        files[f"temp{index + 1}_input"] = str(card.temperatures[index] * 1000)
        if not card.integrated:
            files[f"temp{index + 1}_crit"] = str(limit * 1000)
            files[f"temp{index + 1}_crit_hyst"] = "-273150"
            files[f"temp{index + 1}_emergency"] = str((limit + 5) * 1000)
    if card.integrated:
        return files
    watts = card.power_limit * 1000000
    files.update(
        {
            "freq2_input": "350000000",
            "freq2_label": "mclk",
            "power1_average": str(card.idle_power * 1000000),
            "power1_label": "PPT",
            "power1_cap": str(watts),
            "power1_cap_max": str(watts),
            "power1_cap_min": "0",  # powerplay reports no lower bound [M]
            "power1_cap_default": str(watts),
            # Shown by passive cards as well: nothing is attached to it there.
            "fan1_input": "1180" if card.has_fan else "0",
            "fan1_min": "0",
            "fan1_max": "3850",
            "fan1_target": "0",
            "fan1_enable": "0",
            "pwm1": "37",
            "pwm1_enable": "2",
            "pwm1_min": "0",
            "pwm1_max": "255",
        }
    )
    return files
