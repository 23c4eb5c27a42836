"""PCI ids, what they mean, and what they cannot tell.

Sources: amdgpu's own device table (drivers/gpu/drm/amd/amdgpu/amdgpu_drv.c: Vega 20 and every AMD_IS_APU entry),
libdrm's data/amdgpu.ids (device id + revision), reports of real cards (docs/hardware.md).
"""

from __future__ import annotations

AMD_GPU_VENDOR = 0x1002
AMD_CPU_VENDOR = 0x1022
DISPLAY_CLASS = 0x03  # 0300 VGA, 0380 "display controller": a passive card is the latter, so no filter on VGA
ENCRYPTION_CLASS = 0x1080

VEGA20 = frozenset({0x66A0, 0x66A1, 0x66A2, 0x66A3, 0x66A4, 0x66A7, 0x66AF})
RADEON_VII = 0x66AF
_SHARED = frozenset({0x66A0, 0x66A1})
_PRO_VII_REVISION = 0x06
_MI60_COMPUTE_UNITS = 64
_GIB = 1 << 30
_FIRST_TARGET, _END_OF_TARGETS = 10000, 1000000  # one to two digits of major version

# Up to Yellow Carp from amdgpu_drv.c; later chips are found by IP discovery and have no entry there, so their ids
# (from 0x1506 on) come from memory and only speed up what `is_integrated` would find by the neighbouring PSP anyway.
APU = frozenset(
    {0x15DD, 0x15D8, 0x15E7, 0x1636, 0x1638, 0x164C, 0x164D, 0x1681, 0x163F}
    | {0x13DB, 0x13F9, 0x13FA, 0x13FB, 0x13FC, 0x13FE, 0x143F}
    | {0x1506, 0x164E, 0x15BF, 0x15C8, 0x150E, 0x13C0, 0x1586, 0x1900, 0x1901, 0x1114}
)

_OTHER_VEGA20 = {
    0x66A2: "AMD Vega 20 (66a2)",
    0x66A3: "AMD Radeon Pro Vega II",
    0x66A4: "AMD Vega 20 (66a4)",
    0x66A7: "AMD Radeon Pro Vega 20",
    RADEON_VII: "AMD Radeon VII",
}

# VBIOS part numbers known for a BAR smaller than their VRAM, in GiB: evilJazz gist 14a4c82a, docs/hardware.md.
VBIOS_BAR_GIB = {"113-D1631711-100": 16}


def gfx_name(version: int) -> str | None:
    """Turn KFD's gfx_target_version into a name: 90006 is gfx906, 90010 is gfx90a, 100300 is gfx1030.

    The last component is hexadecimal in the name (drivers/gpu/drm/amd/amdkfd/kfd_device.c).
    """
    if not _FIRST_TARGET <= version < _END_OF_TARGETS:
        return None
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def gfx_by_device(device_id: int) -> str | None:
    """Return the target of a device id, for cards KFD does not list; only Vega 20 is known here."""
    return "gfx906" if device_id in VEGA20 else None


def product(device_id: int, revision: int | None, units: int | None, vram: int | None) -> tuple[str, str | None]:
    """Return the product's name and a note where the ids leave it open.

    1002:66a1 is shared by MI50 (16 and 32 GB), MI60 and Radeon Pro VII, and subsystem 1002:0834, "Radeon Pro VII" in
    pci.ids, is what 16 GB and 32 GB MI50 cards carry. So: revision 06 is a Pro VII (libdrm), 64 compute units are an
    MI60, 60 an MI50, and VRAM tells the two MI50 apart. A card flashed with another VBIOS can still look like another.
    """
    if device_id in _OTHER_VEGA20:
        return _OTHER_VEGA20[device_id], None
    if device_id not in _SHARED:
        return f"AMD GPU {device_id:04x}", None
    size = f" {round(vram / _GIB)}GB" if vram else ""
    if revision == _PRO_VII_REVISION:
        return "AMD Radeon Pro VII", "66a1 revision 06 by libdrm's table; an MI50 with a Pro VII VBIOS looks the same."
    if units is None:
        return (
            f"AMD Instinct MI50 or MI60{size}",
            f"{device_id:04x} is shared by MI50 and MI60, and the number of compute units is not known.",
        )
    name = "MI60" if units >= _MI60_COMPUTE_UNITS else "MI50"
    return f"AMD Instinct {name}{size}", f"{device_id:04x} is shared; told by {units} compute units and VRAM size."
