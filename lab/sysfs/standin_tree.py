"""STAND-IN: writes the simulated /sys. See the package's docstring for what it replaces and what it does not prove."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .fans import FanChip, fan_files
from .files import amdgpu_files, gpu_pci_files, hwmon_files, link_files, pci_identity
from .model import Host, Placed, place
from .presets import host_of
from .standin_kfd import topology

MARKER = ".standin-sysfs"
_ROOT = "devices/pci0000:00"


class _Tree:
    """Files and kernel-style relative symlinks below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, directory: str, content: dict[str, str]) -> None:
        for name, text in content.items():
            path = self.root / directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="ascii")

    def link(self, path: str, target: str) -> None:
        """Make `path` point to `target`, both given from the root, by a relative link as the kernel does."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(self.root / target, link.parent))

    def pci(self, directory: str, content: dict[str, str], driver: str) -> None:
        """A PCI device at its place in the bus tree, known to bus/pci and bound to `driver` unless that is empty."""
        address = directory.rsplit("/", 1)[1]
        self.files(directory, content)
        self.link(f"bus/pci/devices/{address}", directory)
        self.link(f"{directory}/subsystem", "bus/pci")
        if driver:
            self.link(f"{directory}/driver", f"bus/pci/drivers/{driver}")
            self.link(f"bus/pci/drivers/{driver}/{address}", directory)

    def drm(self, directory: str, name: str, minor: int) -> None:
        node = f"{directory}/drm/{name}"
        self.files(node, {"dev": f"226:{minor}", "uevent": f"MAJOR=226\nMINOR={minor}\nDEVNAME=dri/{name}"})
        self.link(f"{node}/device", directory)
        self.link(f"class/drm/{name}", node)

    def hwmon(self, directory: str, number: int, content: dict[str, str]) -> None:
        node = f"{directory}/hwmon/hwmon{number}"
        self.files(node, content)
        self.link(f"{node}/device", directory)
        self.link(f"class/hwmon/hwmon{number}", node)


def _bridge(device: int, vendor: int = 0x1022) -> dict[str, str]:
    return pci_identity(vendor, device, (vendor, device), 0x060400, 0)


def _bridges(tree: _Tree, placed: Placed) -> str:
    """Write root port and on-card switch; return the directory of the GPU function."""
    card = placed.card
    slot = (min(card.card_link[0], card.slot_link[0]), min(card.card_link[1], card.slot_link[1]))
    path = f"{_ROOT}/{placed.chain[0]}"
    tree.pci(path, {**_bridge(0x1483), **link_files(slot, card.slot_link)}, "pcieport")
    if card.has_switch:
        path += f"/{placed.chain[1]}"  # its upstream link is the slot
        tree.pci(path, {**_bridge(0x14A0, 0x1002), **link_files(slot, card.card_link)}, "pcieport")
        path += f"/{placed.chain[2]}"
        tree.pci(path, {**_bridge(0x14A1, 0x1002), **link_files(card.card_link, card.card_link)}, "pcieport")
    return f"{path}/{placed.address}"


def _siblings(tree: _Tree, gpu_dir: str, placed: Placed) -> None:
    """The other functions of the GPU's slot: HDMI audio, and in an APU the platform security processor."""
    base, stem = gpu_dir.rsplit("/", 1)[0], placed.address[:-1]
    if placed.card.has_audio:
        identity = pci_identity(0x1002, 0xAB20, placed.card.subsystem, 0x040300, 0)
        tree.pci(f"{base}/{stem}1", identity, "snd_hda_intel")
    if placed.card.integrated:
        tree.pci(f"{base}/{stem}2", pci_identity(0x1022, 0x15DF, (0x1022, 0x15DF), 0x108000, 0), "ccp")


def _gpu(tree: _Tree, placed: Placed, slot: int) -> None:
    card = placed.card
    directory = _bridges(tree, placed)
    tree.pci(directory, gpu_pci_files(placed, slot), card.driver)
    _siblings(tree, directory, placed)
    if card.driver == "amdgpu":
        tree.files(directory, amdgpu_files(placed))
        tree.drm(directory, f"card{placed.drm_card}", placed.drm_card)
        tree.drm(directory, f"renderD{placed.render_minor}", placed.render_minor)
        tree.hwmon(directory, placed.hwmon, hwmon_files(card))
    for path in card.missing:
        target = tree.root / directory / path.replace("hwmon/", f"hwmon/hwmon{placed.hwmon}/", 1)
        shutil.rmtree(target) if target.is_dir() else target.unlink()


def _bmc(tree: _Tree) -> None:
    """An ASPEED BMC: VGA, card0, not AMD's."""
    path = f"{_ROOT}/0000:00:1c.0"
    tree.pci(path, _bridge(0xA190, 0x8086), "pcieport")
    path += "/0000:40:00.0"
    tree.pci(path, _bridge(0x1150, 0x1A03), "")
    path += "/0000:41:00.0"
    tree.pci(path, pci_identity(0x1A03, 0x2000, (0x15D9, 0x1B0F), 0x030000, 0x41), "ast")
    tree.drm(path, "card0", 0)


def _cpu(tree: _Tree) -> None:
    """The CPU's thermal sensor, so that hwmon0 is not a GPU."""
    path = f"{_ROOT}/0000:00:18.3"
    tree.pci(path, pci_identity(0x1022, 0x1443, (0, 0), 0x060000, 0), "k10temp")
    tree.hwmon(path, 0, {"name": "k10temp", "temp1_input": "41250", "temp1_label": "Tctl"})


def _fan_chip(tree: _Tree, chip: FanChip, number: int) -> None:
    """A fan chip with its attributes in hwmonN, or, registered the old way, in the device itself."""
    content = {"name": chip.name, **fan_files(chip)}
    if chip.under_device:
        tree.files(chip.device, content)
        content = {"uevent": ""}
    tree.hwmon(chip.device, number, content)
    bus = "platform" if chip.device.startswith("devices/platform/") else "usb" if "/usb" in chip.device else "i2c"
    tree.link(f"{chip.device}/driver", f"bus/{bus}/drivers/{chip.driver}")
    (tree.root / f"bus/{bus}/drivers/{chip.driver}").mkdir(parents=True)


def _write(root: Path, host: Host) -> None:
    tree = _Tree(root)
    cards = place(host)
    tree.files("", {MARKER: "simulated by lab.sysfs"})
    for directory in ("bus/pci/devices", "class/drm", "class/hwmon"):
        (root / directory).mkdir(parents=True)
    _cpu(tree)
    if host.bmc:
        _bmc(tree)
    for slot, placed in enumerate(cards):
        _gpu(tree, placed, slot)
    # Super-I/O modules load after amdgpu on most boards: their numbers follow the cards'.
    first = 1 + max((placed.hwmon for placed in cards), default=0)
    for number, chip in enumerate(host.fan_chips, start=first):
        _fan_chip(tree, chip, number)
    kfd = topology(host, cards)
    if kfd:
        tree.files("devices/virtual/kfd/kfd", {"dev": "235:0", "uevent": "MAJOR=235\nMINOR=0\nDEVNAME=kfd"})
        tree.files("devices/virtual/kfd/kfd/topology", kfd)
        tree.link("class/kfd/kfd", "devices/virtual/kfd/kfd")
    if any(card.driver == "amdgpu" for card in host.cards):
        module = {"initstate": "live", "refcnt": "0", "coresize": "17072128", "taint": ""}
        if host.module_version:
            module["version"] = host.module_version
        tree.files("module/amdgpu", module)


def build_host(out: Path, host: Host) -> None:
    """Write the tree of `host` to `out`; a tree this program wrote earlier is replaced as a whole.

    Raises:
        FileExistsError: `out` holds something that is not such a tree.
    """
    if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
        raise FileExistsError(f"{out} is not empty and was not written by lab.sysfs; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        fresh.chmod(0o755)
        _write(fresh, host)
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def build(out: Path, preset: str) -> None:
    """Write the tree of a named machine (see `PRESETS`) to `out`.

    Raises:
        ValueError: there is no such preset.
        FileExistsError: `out` holds something else.
    """
    build_host(out, host_of(preset))


def device_nodes(host: Host) -> list[tuple[str, int, int]]:
    """Character devices below /dev that the tree implies: (path, major, minor).

    KFD's major is dynamic on a real machine; 235 is what the tree says.
    """
    cards = place(host)
    nodes = [("kfd", 235, 0)] if any(placed.kfd_node for placed in cards) else []
    nodes += [("dri/card0", 226, 0)] if host.bmc else []
    for placed in cards:
        if placed.card.driver == "amdgpu":
            nodes.append((f"dri/card{placed.drm_card}", 226, placed.drm_card))
            nodes.append((f"dri/renderD{placed.render_minor}", 226, placed.render_minor))
    return nodes
