"""Cards by PCI address: what the service may open, and what Vulkan will be able to use of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..amdgpu import GpuInfo, collect
from .model import Gpu, Node

_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
GIB = 1 << 30
# Firmware reserves a little; a device or window below this share of the VRAM does not offer the card.
_WHOLE = 0.9


def choose(node: Node, wanted: Sequence[str], *, software: bool = False) -> tuple[list[Gpu], list[str]]:
    """Return the chosen cards in the order of `wanted` (empty: every gfx906 card) and what is wrong with the choice.

    Only gfx906 cards can be chosen: an integrated GPU is refused by name. With `software` there may be none
    at all, and `[none]` leaves the cards that there are alone.
    """
    if [str(name).lower() for name in wanted] == ["none"]:
        return [], [] if software else ["gpus is [none], a computer without a card: that needs allow_software: true"]
    inventory = collect(node.sysfs, node.proc, node.dev)
    cards = {gpu["pci_address"]: gpu for gpu in inventory["gpus"]}
    names = [str(name).lower() for name in wanted] or list(inventory["gfx906"])
    problems = [] if names or software else [_none(cards)]
    chosen = []
    for name in dict.fromkeys(names):
        found = cards.get(name)
        if found is None:
            problems.append(_unknown(name, cards))
            continue
        problems += _problems(found, node)
        chosen.append(_gpu(found, node))
    if len(names) != len(set(names)):
        problems.append(f"gpus names a card twice: {', '.join(names)}")
    return chosen, problems


def small_window(gpu: Gpu) -> str:
    """Why Vulkan will offer only a part of this card, with what helps; empty when it offers all of it.

    Facts: field note gfx906 5.3. Vulkan allocates through the CPU's window into VRAM (BAR 0); ROCm does not need it.
    """
    if not gpu.vram or not gpu.visible or gpu.visible >= gpu.vram * _WHOLE:
        return ""
    return (
        f"{gpu.pci}: the CPU's window into VRAM (BAR) is {gpu.visible / GIB:.1f} of {gpu.vram / GIB:.1f} GiB "
        f"(VBIOS {gpu.vbios or 'unknown'}), so Vulkan offers only that much of the card, while ROCm sees all of it. "
        "Enable Above 4G Decoding and Resizable BAR in the firmware setup; the stock VBIOS 113-D1631711-100 never "
        "offers more than 16 GB, 113-D1631700-111 does (this project flashes nothing). Or use an engine on ROCm "
        "(vllm), or allow the small window and a model that fits it"
    )


def reported_less(gpu: Gpu, memory: int | None) -> str:
    """The same for what an engine reported of a device (bytes); empty when it is the whole card or was not told."""
    if not memory or not gpu.vram or memory >= gpu.vram * _WHOLE:
        return ""
    return (
        f"{gpu.pci}: the engine sees {memory / GIB:.1f} of {gpu.vram / GIB:.1f} GiB VRAM. "
        f"{small_window(gpu) or 'The Vulkan driver offers only a part of the card: check the BAR (lspci -vv) and Mesa'}"
    )


def usable(gpu: Gpu, *, vulkan: bool) -> int:
    """Bytes of the card that an engine can fill: Vulkan's share is what the CPU can see."""
    return min(gpu.vram, gpu.visible) if vulkan and gpu.visible else gpu.vram


def used(node: Node, gpus: Sequence[Gpu]) -> int:
    """Bytes of VRAM in use on these cards together, by everybody. Cards that do not tell count as 0."""
    total = 0
    for gpu in gpus:
        try:
            text = (node.sysfs / "bus/pci/devices" / gpu.pci / "mem_info_vram_used").read_text(encoding="ascii")
            total += int(text)
        except (OSError, ValueError):
            continue
    return total


def _gpu(found: GpuInfo, node: Node) -> Gpu:
    return Gpu(
        pci=found["pci_address"],
        render=found["render_node"] or "",
        card=str(node.dev / "dri" / found["card"]) if found["card"] else "",
        kfd_node=found["kfd_node"],
        vram=found["vram_total"] or 0,
        visible=found["vram_visible"] or 0,
        product=found["product"],
        vbios=found["vbios"] or "",
    )


def _problems(found: GpuInfo, node: Node) -> list[str]:
    name = found["pci_address"]
    if found["is_integrated"]:
        return [f"gpus names {name}, which is integrated in the processor ({found['product']}): choose a gfx906 card"]
    if found["gfx_target"] != "gfx906":
        return [f"gpus names {name}, which is {found['gfx_target'] or 'of an unknown architecture'}, not gfx906"]
    if found["driver"] != "amdgpu":
        return [f"{name} is not driven by amdgpu (driver: {found['driver'] or 'none'}): see playbooks/preflight.yml"]
    render = found["render_node"]
    if not render or not (node.dev / "dri" / render.rpartition("/")[2]).exists():
        return [f"{name} has no render node ({render or 'none'}): is amdgpu loaded, are the device files there?"]
    return []


def _none(cards: dict[str, GpuInfo]) -> str:
    others = ", ".join(f"{name} ({gpu['product']})" for name, gpu in cards.items())
    return f"there is no gfx906 card{f' among {others}' if others else ' and no other AMD GPU on the PCI bus'}"


def _unknown(name: str, cards: dict[str, GpuInfo]) -> str:
    known = ", ".join(cards) or "none"
    if not _PCI.fullmatch(name):
        return f"gpus names {name!r}, which is no PCI address such as 0000:03:00.0 (this node has: {known})"
    return f"gpus names {name}, but there is no AMD GPU at that PCI address (this node has: {known})"
