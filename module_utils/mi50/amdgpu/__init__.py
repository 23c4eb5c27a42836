"""Inventory of AMD GPUs from sysfs and KFD: `collect()` is the entry, the rest are its readers."""

from __future__ import annotations

from .inventory import collect
from .schema import GpuInfo, Inventory

__all__ = ["GpuInfo", "Inventory", "collect"]
