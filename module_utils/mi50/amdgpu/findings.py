"""What is wrong with a card, in plain sentences that name the way out."""

from __future__ import annotations

import re
from pathlib import Path

from . import ids
from .attributes import Attributes, exists
from .schema import GpuInfo

_GIB = 1 << 30
_SMALL_BAR = 256 << 20
_BLACKLIST = re.compile(r"(?:^|\s)(?:module_blacklist|modprobe\.blacklist)=\S*\bamdgpu\b")
_NOMODESET = re.compile(r"(?:^|\s)nomodeset(?:\s|$)")


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size >> 20} MiB"


def bar_ok(gpu: GpuInfo) -> bool | None:
    """Say whether the CPU can address all of VRAM; None when that cannot be known.

    The driver's own figure wins; without it the size of BAR 0 decides.
    """
    total = gpu["vram_total"]
    visible = gpu["vram_visible"] if gpu["vram_visible"] is not None else gpu["bar_size"]
    return None if total is None or visible is None else visible >= total


def _driver(gpu: GpuInfo, proc_root: Path) -> list[str]:
    if gpu["driver"] == "amdgpu":
        return []
    if gpu["driver"]:
        return [
            f"Driver {gpu['driver']} is bound instead of amdgpu, so ROCm and Vulkan cannot use this card "
            "(vfio-pci: it is set aside for a virtual machine)."
        ]
    command_line = Attributes(proc_root, [], quiet=True).text("cmdline", "kernel command line") or ""
    cause = "is the module installed (linux-modules-extra, firmware) and not blacklisted? The kernel log says why"
    if _NOMODESET.search(command_line):
        cause = "the kernel command line has nomodeset, which switches amdgpu off: remove it"
    elif _BLACKLIST.search(command_line):
        cause = "the kernel command line blacklists amdgpu: remove that"
    return [f"No driver is bound, so only PCI data is known: {cause}."]


def _bar(gpu: GpuInfo) -> list[str]:
    if gpu["is_integrated"]:
        return []
    if gpu["bar_size"] == 0:
        return [
            "BAR 0 has no address: the firmware found no room for it. Switch on Above 4G Decoding; "
            "the kernel option pci=realloc can help."
        ]
    if gpu["bar_ok"] is not False:
        return []
    total = gpu["vram_total"] or 0
    visible = gpu["vram_visible"] if gpu["vram_visible"] is not None else gpu["bar_size"] or 0
    known = ids.VBIOS_BAR_GIB.get(gpu["vbios"] or "")
    sentence = f"Only {_gib(visible)} of {_gib(total)} VRAM is visible through BAR 0."
    if visible <= _SMALL_BAR:
        return [f"{sentence} 256 MiB is the window without Above 4G Decoding and Resizable BAR: switch both on."]
    sentence += " Vulkan has been seen to use no more than that part, ROCm uses all."
    if known and known * _GIB <= visible:
        return [f"{sentence} VBIOS {gpu['vbios']} is known for a BAR of {known} GiB: no firmware setting changes that."]
    return [f"{sentence} Check Above 4G Decoding and Resizable BAR; if both are on, the VBIOS sets the limit."]


def _link(gpu: GpuInfo) -> list[str]:
    link = gpu["link"]
    width, most = link["width"], link["max_width"]
    if gpu["is_integrated"] or width is None or most is None or width >= most:
        return []  # speed is not judged: the driver lowers it when the card idles
    return [
        f"PCIe runs at x{width} of x{most} ({link['speed_gts']} GT/s, at {link['measured_at']}): "
        "a riser, a narrow slot, or lanes shared with another slot. Loading models is slower, so is tensor parallelism."
    ]


def _compute(gpu: GpuInfo, dev_root: Path) -> list[str]:
    if gpu["driver"] != "amdgpu":
        return []
    found = []
    if gpu["kfd_node"] is None and not gpu["is_integrated"]:
        found.append(
            "KFD lists no node for this card, so ROCm cannot use it: look for 'skipped device' in the kernel log "
            "(PCIe atomics rejected by the slot or riser)."
        )
    if gpu["kfd_node"] is None and gpu["gfx_target_source"] == "device-id":
        found.append(f"gfx target {gpu['gfx_target']} is taken from the device id, not from KFD.")
    if gpu["render_node"] is None:
        found.append("No render node: the driver registered no DRM device.")
    elif not exists(Path(gpu["render_node"])):
        found.append(f"{gpu['render_node']} does not exist in {dev_root}.")
    if gpu["hwmon"] is None:
        found.append("No hwmon directory: temperatures and power are unknown.")
    return found


def _errors(gpu: GpuInfo) -> list[str]:
    counts = {block: count["uncorrectable"] for block, count in (gpu["ras"] or {}).items()}
    return [
        f"{count} uncorrectable errors in {block} since the driver was loaded: results may be wrong, test the memory."
        for block, count in sorted(counts.items())
        if count
    ]


def judge(gpu: GpuInfo, proc_root: Path, dev_root: Path) -> list[str]:
    """Return everything wrong with a card that follows from what was read."""
    return [*_driver(gpu, proc_root), *_bar(gpu), *_link(gpu), *_compute(gpu, dev_root), *_errors(gpu)]
