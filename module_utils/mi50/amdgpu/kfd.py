"""KFD's topology: which GPUs the compute driver accepted, and what it says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .attributes import Attributes, names, parse_decimal

TOPOLOGY = Path("class/kfd/kfd/topology/nodes")
_SYSTEM_HEAP = 0
_PROPERTY = re.compile(r"([a-z0-9_]+) ([0-9]{1,20})", re.ASCII)


@dataclass(frozen=True)
class KfdNode:
    """One node with its properties; `memory` is the sum of its VRAM banks in bytes, None when unknown."""

    number: int
    properties: dict[str, int]
    memory: int | None

    @property
    def address(self) -> str:
        """PCI address: location_id is bus, device and function; the domain stands apart."""
        location = self.properties.get("location_id", 0)
        domain = self.properties.get("domain", 0)
        return f"{domain:04x}:{location >> 8 & 255:02x}:{location >> 3 & 31:02x}.{location & 7:x}"

    @property
    def compute_units(self) -> int | None:
        """Active compute units; KFD counts SIMDs, four to a unit on GCN and CDNA."""
        per_unit = self.properties.get("simd_per_cu", 0) or 4
        return self.properties.get("simd_count", 0) // per_unit or None

    @property
    def is_apu(self) -> bool:
        """True for a node that has CPU cores and SIMDs at once."""
        return self.properties.get("cpu_cores_count", 0) > 0 and self.properties.get("simd_count", 0) > 0


def _parse(text: str) -> dict[str, int]:
    matches = (_PROPERTY.fullmatch(line.strip()) for line in text.splitlines())
    return {match.group(1): int(match.group(2)) for match in matches if match}


def _memory(node: Path) -> int | None:
    total = 0
    for bank in names(node / "mem_banks"):
        text = Attributes(node / "mem_banks" / bank, [], quiet=True).text("properties", "memory bank") or ""
        properties = _parse(text)
        if properties.get("heap_type", _SYSTEM_HEAP) != _SYSTEM_HEAP:
            total += properties.get("size_in_bytes", 0)
    return total or None


def read_gpu_nodes(sysfs_root: Path, problems: list[str]) -> dict[str, KfdNode]:
    """Return KFD's GPU nodes by PCI address; nodes that cannot be read are named in `problems`.

    A partitioned GPU has several nodes at one address: the first counts.
    """
    found: dict[str, KfdNode] = {}
    numbers = (parse_decimal(name) for name in names(sysfs_root / TOPOLOGY))
    for number in sorted(number for number in numbers if number is not None):
        directory = sysfs_root / TOPOLOGY / str(number)
        text = Attributes(directory, problems).text("properties", f"KFD node {number}")
        properties = _parse(text or "")
        if properties.get("simd_count", 0) == 0:
            continue
        node = KfdNode(number, properties, _memory(directory))
        found.setdefault(node.address, node)
    return found
