"""STAND-IN for /sys/class/kfd: the topology KFD derives from cards it accepted.

Does not prove: that KFD would accept a card (PCIe atomics, firmware), nor real link weights or cache tables.
"""

from __future__ import annotations

import zlib

from .model import VRAM_32G, Host, Placed


def _lines(properties: dict[str, int]) -> str:
    return "\n".join(f"{name} {value}" for name, value in properties.items())


def _cpu_node(host: Host) -> dict[str, str]:
    return {
        "gpu_id": "0",
        "name": "",
        "properties": _lines(
            {
                "cpu_cores_count": host.cpu_cores,
                "simd_count": 0,
                "mem_banks_count": 1,
                "gfx_target_version": 0,
                "vendor_id": 0,
                "device_id": 0,
                "location_id": 0,
                "domain": 0,
                "drm_render_minor": 0,
                "unique_id": 0,
                "max_engine_clk_ccompute": 3700,
            }
        ),
        "mem_banks/0/properties": _lines({"heap_type": 0, "size_in_bytes": 4 * VRAM_32G, "flags": 0, "width": 64}),
    }


def location_id(address: str) -> int:
    """KFD's location_id: bus in bits 15..8, device and function below, the domain apart."""
    _, bus, slot = address.split(":")
    device, function = slot.split(".")
    return int(bus, 16) << 8 | int(device, 16) << 3 | int(function, 16)


def _gpu_node(placed: Placed) -> dict[str, str]:
    card = placed.card
    # All of VRAM behind the BAR makes one public heap (1), otherwise one private heap (2) [M].
    heap = 1 if card.visible_vram == card.vram else 2
    return {
        "gpu_id": str(zlib.crc32(placed.unique_id.encode()) & 0xFFFF),
        "name": "raven" if card.integrated else "vega20",
        "properties": _lines(
            {
                "cpu_cores_count": 0,
                "simd_count": card.compute_units * 4,
                "mem_banks_count": 1,
                "caches_count": 93,
                "io_links_count": 1,
                "max_waves_per_simd": 10,
                "lds_size_in_kb": 64,
                "wave_front_size": 64,
                "array_count": 4,
                "simd_arrays_per_engine": 1,
                "simd_per_cu": 4,
                "gfx_target_version": card.gfx_target_version,
                "vendor_id": 0x1002,
                "device_id": card.device_id,
                "location_id": location_id(placed.address),
                "domain": int(placed.address.split(":")[0], 16),
                "drm_render_minor": placed.render_minor,
                "hive_id": 0,
                "max_engine_clk_fcompute": 1725,
                "local_mem_size": 0,
                "unique_id": 0 if card.integrated else int(placed.unique_id, 16),
                "max_engine_clk_ccompute": 3700,
            }
        ),
        "mem_banks/0/properties": _lines({"heap_type": heap, "size_in_bytes": card.vram, "flags": 0, "width": 4096}),
        "io_links/0/properties": _lines({"type": 2, "node_from": placed.kfd_node, "node_to": 0, "weight": 20}),
    }


def topology(host: Host, cards: list[Placed]) -> dict[str, str]:
    """Files below class/kfd/kfd/topology; empty when no card reached KFD (the class then does not exist)."""
    gpus = [placed for placed in cards if placed.kfd_node]
    if not gpus:
        return {}
    nodes = {0: _cpu_node(host), **{placed.kfd_node: _gpu_node(placed) for placed in gpus}}
    files = {
        "generation_id": "2",
        "system_properties": _lines({"platform_oem": 0, "platform_id": 0, "platform_rev": 0}),
    }
    for number, content in nodes.items():
        files.update({f"nodes/{number}/{path}": text for path, text in content.items()})
    return files
