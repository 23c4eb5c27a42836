"""PCI side: which display devices there are, their BARs, their place in the bus tree and the link they run at."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from . import ids
from .attributes import Attributes, names
from .schema import Link

DEVICES = Path("bus/pci/devices")
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_SPEED = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?) GT/s.*", re.ASCII)
_REGION = re.compile(r"0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) 0x[0-9a-f]{1,16}", re.ASCII)
_MAX_LANES = 32  # a broken link reads as width 0, 63 or 255


@dataclass(frozen=True)
class Hop:
    """Link of one device on the way from the GPU to the root complex."""

    address: str
    vendor: int | None
    speed: float | None
    width: int | None
    max_speed: float | None
    max_width: int | None


def find_gpus(sysfs_root: Path) -> list[tuple[str, int, int]]:
    """Return (address, device id, class) of every AMD display device, by ids and never by name."""
    found = []
    for address in names(sysfs_root / DEVICES):
        if not ADDRESS.fullmatch(address):
            continue
        attributes = Attributes(sysfs_root / DEVICES / address, [], quiet=True)
        if attributes.hexadecimal("vendor", "vendor") != ids.AMD_GPU_VENDOR:
            continue
        device = attributes.hexadecimal("device", "device id")
        pci_class = attributes.hexadecimal("class", "class")
        if device is not None and pci_class is not None and pci_class >> 16 == ids.DISPLAY_CLASS:
            found.append((address, device, pci_class))
    return found


def has_psp_sibling(sysfs_root: Path, address: str) -> bool:
    """Say whether AMD's security processor is a function of the same slot.

    That is so in every Zen APU (function 2, 1022:xxxx, class 1080), and never on a card.
    """
    stem = address.rsplit(".", 1)[0]
    for function in range(1, 8):
        attributes = Attributes(sysfs_root / DEVICES / f"{stem}.{function}", [], quiet=True)
        pci_class = attributes.hexadecimal("class", "class")
        if pci_class is not None and pci_class >> 8 == ids.ENCRYPTION_CLASS:
            return attributes.hexadecimal("vendor", "vendor") == ids.AMD_CPU_VENDOR
    return False


def bar0_size(attributes: Attributes) -> int | None:
    """Return the size of BAR 0, the window into VRAM, from `resource`; 0 when the firmware gave it no address."""
    text = attributes.text("resource", "Size of BAR 0")
    if text is None:
        return None
    match = _REGION.fullmatch(text.splitlines()[0].strip())
    if not match:
        attributes.note(f"Size of BAR 0 unknown: the first line of resource reads {text.splitlines()[0][:40]!r}.")
        return None
    start, end = int(match.group(1), 16), int(match.group(2), 16)
    return end - start + 1 if end > start else 0


def _speed(attributes: Attributes, name: str, what: str) -> float | None:
    text = attributes.text(name, what)
    if text is None:
        return None
    match = _SPEED.fullmatch(text)
    if not match:
        attributes.note(f"{what} unknown: {name} reads {text[:40]!r}.")
        return None
    return float(match.group(1))


def _width(attributes: Attributes, name: str, what: str) -> int | None:
    width = attributes.integer(name, what)
    if width is not None and not 1 <= width <= _MAX_LANES:
        attributes.note(f"{what} unknown: {name} reads {width}, no link has that many lanes.")
        return None
    return width


def _hop(attributes: Attributes) -> Hop:
    return Hop(
        attributes.directory.name,
        attributes.hushed().hexadecimal("vendor", "vendor"),
        _speed(attributes, "current_link_speed", "PCIe speed"),
        _width(attributes, "current_link_width", "PCIe width"),
        _speed(attributes, "max_link_speed", "Highest PCIe speed"),
        _width(attributes, "max_link_width", "Highest PCIe width"),
    )


def _path(sysfs_root: Path, address: str) -> list[Path]:
    """Directories of the bridges above a device, nearest first, by where its symlink really points."""
    real = Path(os.path.realpath(sysfs_root / DEVICES / address))
    root = Path(os.path.realpath(sysfs_root))
    return [parent for parent in real.parents if root in parent.parents and ADDRESS.fullmatch(parent.name)]


def read_link(sysfs_root: Path, attributes: Attributes) -> Link:
    """Return the link that limits the card.

    Vega 20 carries a PCIe switch of its own (1002:14a0, 1002:14a1): the GPU function reports the link inside the card,
    always x16, and only the switch's upstream port knows what the slot or riser gives. So the slowest hop up to the
    root port is what counts now, and the AMD device nearest to the root port is what the card could do.
    """
    own = _hop(attributes)
    above = [_hop(Attributes(path, [], quiet=True)) for path in _path(sysfs_root, own.address)]
    card = [own]
    for hop in above:
        if hop.vendor != ids.AMD_GPU_VENDOR:
            break
        card.append(hop)
    front = next((hop for hop in reversed(card) if hop.max_speed and hop.max_width), own)
    known = [(hop.speed * hop.width, hop) for hop in [own, *above] if hop.speed and hop.width]
    # min() keeps the first of equals, and the list goes from the GPU up: report the hop nearest to the slot instead.
    slowest = min(reversed(known), key=lambda item: item[0])[1] if known else own
    return Link(
        speed_gts=slowest.speed,
        width=slowest.width,
        max_speed_gts=front.max_speed,
        max_width=front.max_width,
        measured_at=slowest.address if known else None,
    )
