"""Which checks say something only where a card, a fan header or a kernel driver is."""

from __future__ import annotations

_PREFIXES = (
    "gpu.",
    "card.",
    "fan.daemon",
    "kernel.kfd",
    "kernel.log",
    "kernel.iommu",
    "rocm.agents",
    "boot.secure_boot",
)


def needs_hardware(check_id: str) -> bool:
    """Whether a simulated node can show no more than that the check is asked; on a node of its own it counts."""
    return check_id.startswith(_PREFIXES)
