"""Why a card slows itself down: the throttler's bits in amdgpu's binary `gpu_metrics`.

Layout: struct gpu_metrics_v1_0 in drivers/gpu/drm/amd/include/kgd_pp_interface.h, in the machine's byte order and with
C's padding; Vega 20 answers with it (vega20_get_gpu_metrics in drivers/gpu/drm/amd/pm/powerplay/hwmgr/vega20_hwmgr.c,
since Linux 5.10). Bits: THROTTLER_STATUS_*_BIT of interface 0x13 in
drivers/gpu/drm/amd/pm/powerplay/inc/smu11_driver_if.h; later chips of SMU 11 number them the same, others do not, so a
table of another format is not interpreted.
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("=HBB")  # structure_size, format_revision, content_revision
_FORMAT = (1, 0)
# Header 4, padding 4, clock 8, six temperatures, three loads and the power 20, energy 4, fourteen clocks 28.
_STATUS_AT = 68
_UNKNOWN = 0xFFFFFFFF  # the driver fills the table with ones and sets what it knows
REASONS = {
    1: "edge",
    2: "junction",
    3: "memory",
    4: "regulator_gfx",
    5: "regulator_soc",
    6: "regulator_mem0",
    7: "regulator_mem1",
    8: "liquid",
    9: "pcie_switch",
    10: "skin",
    11: "current_gfx",
    12: "current_soc",
    13: "power",
    14: "reliability",
    15: "peak_power",
}
# What a card does every day under load, within its own limits: its power limit holds.
HARMLESS = frozenset({"power", "peak_power"})


def reasons(table: bytes) -> dict[str, bool] | None:
    """Return each reason and whether it holds now; None when the table does not tell."""
    if len(table) < _STATUS_AT + 4:
        return None
    size, major, minor = _HEADER.unpack_from(table)
    if (major, minor) != _FORMAT or size < _STATUS_AT + 4:
        return None
    (status,) = struct.unpack_from("=I", table, _STATUS_AT)
    if status == _UNKNOWN:
        return None
    return {name: bool(status >> bit & 1) for bit, name in REASONS.items()}
