"""Put the readers together: one record per card, with plain sentences for whatever is missing or wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from . import findings, ids, pci, sensors
from .attributes import Attributes, exists, link_name, names, parse_hex
from .kfd import KfdNode, read_gpu_nodes
from .schema import GpuInfo, Inventory, ModuleInfo, Subsystem

_CARD = re.compile(r"card[0-9]{1,6}", re.ASCII)
_RENDER = re.compile(r"renderD[0-9]{1,6}", re.ASCII)


@dataclass(frozen=True)
class Roots:
    """Where the host's file systems are; a test or a container gives its own."""

    sysfs: Path
    proc: Path
    dev: Path


def _module(sysfs_root: Path) -> ModuleInfo:
    directory = sysfs_root / "module/amdgpu"
    version = Attributes(directory, [], quiet=True).text("version", "amdgpu version")
    return ModuleInfo(loaded=exists(directory), version=version)


def _hex4(value: int | None) -> str | None:
    return None if value is None else f"0x{value:04x}"


def _drm(device: Path, kfd: KfdNode | None, roots: Roots) -> tuple[str | None, str | None]:
    """Return (cardN, path of the render node): the BMC is card0 on servers, so numbers come from the device itself."""
    entries = names(device / "drm")
    card = next((name for name in entries if _CARD.fullmatch(name)), None)
    render = next((name for name in entries if _RENDER.fullmatch(name)), None)
    if render is None and kfd and kfd.properties.get("drm_render_minor"):
        render = f"renderD{kfd.properties['drm_render_minor']}"
    return card, str(roots.dev / "dri" / render) if render else None


def _unique_id(attributes: Attributes, kfd: KfdNode | None) -> str | None:
    text = attributes.hushed().text("unique_id", "unique id")
    number = parse_hex(text) if text else None
    if not number and kfd:
        number = kfd.properties.get("unique_id")
    if not number:
        attributes.note("Unique id unknown: unique_id is missing or not a hexadecimal number.")
    return f"{number:016x}" if number else None


def _vram_total(attributes: Attributes, kfd: KfdNode | None) -> int | None:
    total = attributes.integer("mem_info_vram_total", "VRAM size", low=1)
    if total is None and kfd and kfd.memory:
        attributes.note("VRAM size taken from KFD's memory banks instead.")
        return kfd.memory
    return total


def _numa(attributes: Attributes) -> int | None:
    node = attributes.integer("numa_node", "NUMA node", low=-1)
    return None if node == -1 else node  # -1: the firmware names none


def _target(device_id: int, kfd: KfdNode | None) -> tuple[str | None, str | None]:
    name = ids.gfx_name(kfd.properties.get("gfx_target_version", 0)) if kfd else None
    if name:
        return name, "kfd"
    name = ids.gfx_by_device(device_id)
    return name, "device-id" if name else None


def is_integrated(sysfs_root: Path, address: str, device_id: int, kfd: KfdNode | None) -> bool:
    """Say whether a GPU is part of the processor.

    True when KFD's node has CPU cores and SIMDs at once, when the id is one of the driver's APU ids, or when the
    processor's security processor (PSP) is a function of the same slot. The size of VRAM says nothing: the carve-out
    can be set to 16 GB, and small cards exist. A Vega 20 is never integrated.
    """
    if device_id in ids.VEGA20:
        return False
    return bool(kfd and kfd.is_apu) or device_id in ids.APU or pci.has_psp_sibling(sysfs_root, address)


def _gpu(roots: Roots, address: str, device_id: int, pci_class: int, kfd: KfdNode | None) -> GpuInfo:
    device = roots.sysfs / pci.DEVICES / address
    problems: list[str] = []
    attributes = Attributes(device, problems)
    integrated = is_integrated(roots.sysfs, address, device_id, kfd)
    driver = link_name(device / "driver")
    bound = driver == "amdgpu"
    # Without the driver its files are absent altogether: one sentence for that instead of ten. An APU has few of them.
    driven = Attributes(device, problems, quiet=not bound)
    board = driven.hushed() if integrated else driven
    hwmon = sensors.find_hwmon(device)
    card, render = _drm(device, kfd, roots)
    target, source = _target(device_id, kfd)
    revision = attributes.hexadecimal("revision", "Revision")
    total = _vram_total(driven, kfd)
    units = kfd.compute_units if kfd else None
    name, name_note = ids.product(device_id, revision, units, total)
    gpu: GpuInfo = {
        "pci_address": address,
        "vendor_id": f"0x{ids.AMD_GPU_VENDOR:04x}",
        "device_id": f"0x{device_id:04x}",
        "revision": None if revision is None else f"0x{revision:02x}",
        "subsystem": Subsystem(
            vendor=_hex4(attributes.hexadecimal("subsystem_vendor", "Subsystem vendor")),
            device=_hex4(attributes.hexadecimal("subsystem_device", "Subsystem device")),
        ),
        "class": f"0x{pci_class:06x}",
        "driver": driver,
        "is_integrated": integrated,
        "gfx_target": target,
        "gfx_target_source": source,
        "compute_units": units,
        "kfd_node": kfd.number if kfd else None,
        "render_node": render,
        "card": card,
        "hwmon": str(hwmon) if hwmon else None,
        "vram_total": total,
        "vram_visible": driven.integer("mem_info_vis_vram_total", "Visible VRAM"),
        "bar_size": pci.bar0_size(attributes),
        "bar_ok": None,
        "vbios": driven.text("vbios_version", "VBIOS version"),
        "unique_id": _unique_id(board, kfd),
        "numa_node": _numa(attributes),
        "link": pci.read_link(roots.sysfs, attributes),
        "power_cap": sensors.read_power_cap(Attributes(hwmon or device / "hwmon", problems, quiet=board.quiet)),
        "ras": sensors.read_ras(device, problems),
        "product": name,
        "product_note": name_note,
        "problems": problems,
    }
    gpu["bar_ok"] = findings.bar_ok(gpu)
    problems.extend(findings.judge(gpu, roots.proc, roots.dev))
    return gpu


def collect(sysfs_root: Path, proc_root: Path, dev_root: Path) -> Inventory:
    """Return every AMD GPU of the host in the order of PCI addresses, which is stable; indices of tools are not.

    Never raises for what the trees hold: what cannot be read is None and named in `problems`.
    """
    roots = Roots(sysfs_root, proc_root, dev_root)
    problems: list[str] = []
    if not exists(sysfs_root / pci.DEVICES):
        problems.append(f"No PCI bus: {sysfs_root / pci.DEVICES} does not exist.")
    nodes = read_gpu_nodes(sysfs_root, problems)
    gpus = [_gpu(roots, *found, nodes.get(found[0])) for found in pci.find_gpus(sysfs_root)]
    gfx906 = [gpu["pci_address"] for gpu in gpus if gpu["gfx_target"] == "gfx906"]
    kfd = exists(dev_root / "kfd")
    if gfx906 and not kfd:
        problems.append(f"{dev_root / 'kfd'} does not exist: nothing can compute on the GPUs.")
    return {"gpus": gpus, "gfx906": gfx906, "kfd": kfd, "module": _module(sysfs_root), "problems": problems}
