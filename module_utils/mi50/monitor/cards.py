"""Live values of the cards from sysfs, and which unit holds how much of their memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..amdgpu import GpuInfo, collect
from ..amdgpu.attributes import Attributes, names, parse_decimal, read_text
from ..amdgpu.kfd import TOPOLOGY
from ..amdgpu.pci import DEVICES
from . import throttle

_SENSORS = 3  # edge, junction and mem of Vega 20; an APU has one
_PROCESSES = Path("class/kfd/kfd/proc")
_VRAM = re.compile(r"vram_([0-9]{1,10})", re.ASCII)
_LIMIT = 4096  # bytes; a page, more than any table of gpu_metrics
_UNIT = re.compile(r"([^/]+\.(?:service|scope))(?:/|$)")


class Card(NamedTuple):
    """One gfx906 card. Temperatures in degrees Celsius by sensor, power in watts, memory in bytes, clocks in hertz.

    None, or a key that is missing, stands for a file that is missing or unreadable.
    """

    info: GpuInfo
    temperatures: Mapping[str, float]
    limits: Mapping[str, float]
    power: float | None
    vram_used: int | None
    busy: Mapping[str, int]
    clocks: Mapping[str, int]
    replays: int | None
    throttled: Mapping[str, bool] | None
    units: Mapping[str, int]
    processes: int


def read(sysfs: Path, proc: Path, dev: Path) -> tuple[list[Card], list[str]]:
    """Return the gfx906 cards in the order of PCI addresses, and what is wrong with the host. Raises nothing."""
    found = collect(sysfs, proc, dev)
    held = _held(sysfs, proc)
    cards = [_card(sysfs, gpu, held) for gpu in found["gpus"] if gpu["pci_address"] in found["gfx906"]]
    return cards, found["problems"]


def _card(sysfs: Path, gpu: GpuInfo, held: Mapping[int, Mapping[str, list[int]]]) -> Card:
    device = sysfs / DEVICES / gpu["pci_address"]
    board = Attributes(device, [], quiet=True)
    hwmon = Attributes(Path(gpu["hwmon"]) if gpu["hwmon"] else device / "hwmon", [], quiet=True)
    temperatures, limits = {}, {}
    for number in range(1, _SENSORS + 1):
        name = hwmon.text(f"temp{number}_label", "")
        value = hwmon.integer(f"temp{number}_input", "", low=-300000)
        limit = hwmon.integer(f"temp{number}_crit", "", low=-300000)
        if name and value is not None:
            temperatures[name] = value / 1000
        if name and limit is not None:
            limits[name] = limit / 1000
    power = hwmon.integer("power1_average", "")
    mine = held.get(_gpu_id(sysfs, gpu["kfd_node"]) or 0, {})
    busy = {name: board.integer(f"{name}_busy_percent", "") for name in ("gpu", "mem")}
    clocks = {name: hwmon.integer(f"freq{number}_input", "") for number, name in ((1, "sclk"), (2, "mclk"))}
    return Card(
        info=gpu,
        temperatures=temperatures,
        limits=limits,
        power=None if power is None else power / 1000000,
        vram_used=board.integer("mem_info_vram_used", ""),
        busy={name: value for name, value in busy.items() if value is not None},
        clocks={name: value for name, value in clocks.items() if value is not None},
        replays=board.integer("pcie_replay_count", ""),
        throttled=_throttled(device / "gpu_metrics"),
        units={unit: sum(sizes) for unit, sizes in mine.items()},
        processes=sum(len(sizes) for sizes in mine.values()),
    )


def _throttled(path: Path) -> Mapping[str, bool] | None:
    try:
        with path.open("rb") as stream:
            return throttle.reasons(stream.read(_LIMIT))
    except OSError:
        return None


def _gpu_id(sysfs: Path, node: int | None) -> int | None:
    return None if node is None else Attributes(sysfs / TOPOLOGY / str(node), [], quiet=True).integer("gpu_id", "")


def _held(sysfs: Path, proc: Path) -> dict[int, dict[str, list[int]]]:
    """Bytes of VRAM of each process that KFD knows (ROCm's; Vulkan's are not there), by KFD's id of the card and unit.

    The unit of a process and not its number: a number is another one after each start, and a series of its own each.
    """
    found: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for pid in names(sysfs / _PROCESSES):
        if parse_decimal(pid) is None:
            continue
        for name in names(sysfs / _PROCESSES / pid):
            matched = _VRAM.fullmatch(name)
            size = Attributes(sysfs / _PROCESSES / pid, [], quiet=True).integer(name, "") if matched else None
            if matched and size is not None:
                found[int(matched.group(1))][_unit(proc, pid)].append(size)
    return found


def _unit(proc: Path, pid: str) -> str:
    """The systemd unit of a process; a container's is the scope that Docker made, and `-` stands for none."""
    try:
        text = read_text(proc / pid / "cgroup")
    except OSError:
        return "-"
    found = _UNIT.findall(text)
    # The last is the innermost; of a login session that is its scope.
    return str(found[-1]) if found else "-"
