"""Shape of what the inventory returns. Sizes in bytes, power in watts, link speed in GT/s; None = could not be read."""

from __future__ import annotations

from typing import TypedDict


class Subsystem(TypedDict):
    """Board maker's ids, as `0x1002`."""

    vendor: str | None
    device: str | None


class Link(TypedDict):
    """The slowest hop between the GPU and the root complex now, and what the card itself could do."""

    speed_gts: float | None
    width: int | None
    max_speed_gts: float | None
    max_width: int | None
    measured_at: str | None  # PCI address of the slowest hop


class PowerCap(TypedDict):
    """Package power limit in watts."""

    current: int | None
    min: int | None
    max: int | None
    default: int | None


class RasCount(TypedDict):
    """Error counters of one hardware block since the driver was loaded."""

    correctable: int | None
    uncorrectable: int | None


# One AMD GPU. Not in class syntax, which cannot spell the key `class`; the types are text because Python 3.9, which
# nodes may have, does not know `X | None` at run time.
GpuInfo = TypedDict(
    "GpuInfo",
    {
        "class": str,
        "pci_address": str,
        "vendor_id": str,
        "device_id": str,
        "revision": "str | None",
        "subsystem": Subsystem,
        "driver": "str | None",
        "is_integrated": bool,
        "gfx_target": "str | None",
        "gfx_target_source": "str | None",  # "kfd" or "device-id"
        "compute_units": "int | None",
        "kfd_node": "int | None",
        "render_node": "str | None",
        "card": "str | None",
        "hwmon": "str | None",
        "vram_total": "int | None",
        "vram_visible": "int | None",
        "bar_size": "int | None",
        "bar_ok": "bool | None",
        "vbios": "str | None",
        "unique_id": "str | None",
        "numa_node": "int | None",
        "link": Link,
        "power_cap": PowerCap,
        "ras": "dict[str, RasCount] | None",
        "product": str,
        "product_note": "str | None",
        "problems": list[str],
    },
)


class ModuleInfo(TypedDict):
    """The amdgpu kernel module. Only DKMS's build carries a version of its own; the in-tree one has None."""

    loaded: bool
    version: str | None


class Inventory(TypedDict):
    """Everything found on the host."""

    gpus: list[GpuInfo]
    gfx906: list[str]
    kfd: bool
    module: ModuleInfo
    problems: list[str]
