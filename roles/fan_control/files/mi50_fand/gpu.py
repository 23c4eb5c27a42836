"""Reads one card: PCI address to amdgpu's hwmon to raw words. Judges nothing."""

from __future__ import annotations

import errno

from .sysfs import Sysfs

# What a read gave: a word, or the errno of the failure. The errno keeps its meaning until somebody judges it.
Raw = str | int

_TEMPS = {"edge": "temp1", "junction": "temp2", "mem": "temp3"}
GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)


class Snapshot:
    """One look at a card. `state` is ok, asleep (runtime-suspended, nothing was read), no_driver or absent."""

    __slots__ = ("crit", "power", "runtime", "state", "temps", "unique_id")

    def __init__(self, state: str) -> None:
        """Start with nothing read."""
        self.state = state
        self.runtime: Raw = errno.ENOENT
        self.temps: dict[str, Raw] = {}
        self.power: Raw = errno.ENOENT
        self.crit: dict[str, Raw] = {}
        self.unique_id = ""


def attempt(io: Sysfs, path: str) -> Raw:
    """An attribute's word, or the errno."""
    try:
        return io.read(path)
    except OSError as error:
        return error.errno or errno.EIO


def find_hwmon(io: Sysfs, pci: str) -> str:
    """Real path of the hwmon directory that amdgpu made for a PCI address. Raises OSError ENOENT."""
    parent = f"{io.real(f'bus/pci/devices/{pci}')}/hwmon"
    for name in io.list(parent):
        path = f"{parent}/{name}"
        # The PCI device can carry another driver's hwmon; only amdgpu's speaks of this silicon.
        if attempt(io, f"{path}/name") == "amdgpu":
            return path
    raise OSError(errno.ENOENT, "no amdgpu hwmon", parent)


class GpuReader:
    """Looks at one card each cycle; finds it anew after anything that says it is gone."""

    def __init__(self, io: Sysfs, pci: str) -> None:
        """Nothing is looked up before the first read."""
        self.io = io
        self.pci = pci
        self._path = ""
        self._temps: dict[str, str] = {}
        self._crit: dict[str, Raw] = {}
        self._power = ""
        self._unique_id = ""

    def read(self) -> Snapshot:
        """One snapshot. Raises nothing that a missing or sick card can cause."""
        device = f"bus/pci/devices/{self.pci}"
        # A read of temp1 wakes a suspended card on older kernels; this one never does.
        runtime = attempt(self.io, f"{device}/power/runtime_status")
        if runtime in {"suspended", "suspending"}:
            snapshot = Snapshot("asleep")
            snapshot.runtime = runtime
            return snapshot
        if not self._path:
            try:
                self._resolve()
            except OSError:
                present = self.io.exists(device)
                return Snapshot("no_driver" if present else "absent")
        snapshot = Snapshot("ok")
        snapshot.runtime = runtime
        snapshot.unique_id = self._unique_id
        snapshot.crit = self._crit  # the same object until the card is looked up anew
        for sensor, stem in self._temps.items():
            snapshot.temps[sensor] = attempt(self.io, f"{self._path}/{stem}_input")
        snapshot.power = attempt(self.io, self._power)
        if any(raw in GONE for raw in snapshot.temps.values()):
            self._path = ""  # looked up anew at the next cycle, under whatever number it then has
        return snapshot

    def _resolve(self) -> None:
        path = find_hwmon(self.io, self.pci)
        stems = dict(_TEMPS)
        for stem in _TEMPS.values():
            label = attempt(self.io, f"{path}/{stem}_label")
            if label in stems and isinstance(label, str):
                stems[label] = stem
        self._temps = stems
        self._crit = {sensor: attempt(self.io, f"{path}/{stem}_crit") for sensor, stem in stems.items()}
        # power1_average became power1_input for newer firmware; whichever exists.
        average = f"{path}/power1_average"
        self._power = average if self.io.exists(average) else f"{path}/power1_input"
        unique = attempt(self.io, f"bus/pci/devices/{self.pci}/unique_id")
        self._unique_id = unique if isinstance(unique, str) else ""
        self._path = path
