"""Finds fan chips by the device behind them, never by hwmonN."""

from __future__ import annotations

import errno
import re

from .sysfs import Sysfs

CLASS = "class/hwmon"
# Parts of a device path that the kernel numbers anew: the i2c bus (i2c-0/0-002d) and the instance of a HID device.
_I2C = re.compile(r"/i2c-\d+/\d+-([0-9a-f]{4})(?=/|$)")
_HID = re.compile(r"(/[0-9A-F]{4}:[0-9A-F]{4}:[0-9A-F]{4})\.[0-9A-F]{4}(?=/|$)")


class Chip:
    """A hwmon device: `device` and `base` (where its attributes lie) are real paths below the root."""

    __slots__ = ("base", "device", "hwmon", "name")

    def __init__(self, device: str, hwmon: str, base: str, name: str) -> None:
        """Keep what discovery found."""
        self.device = device
        self.hwmon = hwmon
        self.base = base
        self.name = name


class NotFound(Exception):
    """No chip, or more than one, fits an identity; `code` is the journal's."""

    def __init__(self, code: str, text: str) -> None:
        """Keep the code beside the text."""
        super().__init__(text)
        self.code = code


def chips(io: Sysfs) -> list[Chip]:
    """Every hwmon device whose name can be read. One that vanishes meanwhile is left out."""
    try:
        names = io.list(CLASS)
    except OSError:
        return []
    found = []
    for hwmon in names:
        try:
            found.append(_chip(io, hwmon))
        except OSError:
            continue
    return found


def _chip(io: Sysfs, hwmon: str) -> Chip:
    """Raises OSError when the directory has no device or no name."""
    own = io.real(f"{CLASS}/{hwmon}")
    device = io.real(f"{CLASS}/{hwmon}/device")
    # Old registrations keep every attribute, the name included, in the device's own directory.
    for base in (own, device):
        try:
            name = io.read(f"{base}/name")
        except OSError:
            continue
        return Chip(device, hwmon, base, name)
    raise OSError(errno.ENOENT, "no name", hwmon)


def stable(device: str) -> str:
    """The device path without the numbers that the kernel gives anew at each probe."""
    return _HID.sub(r"\1", _I2C.sub(r"/i2c/\1", device))


def same_chip(wanted: str, found: str) -> bool:
    """Whether a driver's name fits: equal, or one is the other with a suffix (it8696, it8696_a008090a)."""
    return wanted == found or found.startswith(f"{wanted}_") or wanted.startswith(f"{found}_")


def find(io: Sysfs, device: str, name: str) -> Chip:
    """The chip of a configured identity; the exact path wins over one that differs in kernel-given numbers only.

    Raises NotFound with code CHIP_MISSING or CHIP_AMBIGUOUS.
    """
    present = chips(io)
    exact = [chip for chip in present if chip.device == device]
    fitting = [chip for chip in exact if same_chip(name, chip.name)]
    if not exact:
        alike = [chip for chip in present if stable(chip.device) == stable(device)]
        fitting = [chip for chip in alike if same_chip(name, chip.name)]
    if len(fitting) > 1:
        places = ", ".join(chip.device for chip in fitting)
        raise NotFound("CHIP_AMBIGUOUS", f"{name} at {device} fits {places}")
    if not fitting:
        others = ", ".join(sorted({chip.name for chip in exact})) if exact else "nothing"
        raise NotFound("CHIP_MISSING", f"{name} at {device} is not there (found {others})")
    return fitting[0]
