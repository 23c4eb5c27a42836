"""Simulated machines for the inventory's tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mi50.amdgpu import GpuInfo, Inventory, collect

from lab.sysfs import Host, build_host, device_nodes, host_of


@dataclass
class Machine:
    """A machine's roots; change files below `sys`, then look again."""

    sys: Path
    proc: Path
    dev: Path

    def look(self) -> Inventory:
        return collect(self.sys, self.proc, self.dev)

    def gpu(self, address: str = "0000:03:00.0") -> GpuInfo:
        return next(gpu for gpu in self.look()["gpus"] if gpu["pci_address"] == address)

    def device(self, address: str = "0000:03:00.0") -> Path:
        return (self.sys / "bus/pci/devices" / address).resolve()


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str | Host], Machine]:
    """Make a machine from a preset's name or a description; its device nodes exist as plain files."""

    def make(description: str | Host) -> Machine:
        host = host_of(description) if isinstance(description, str) else description
        made = Machine(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev")
        build_host(made.sys, host)
        made.proc.mkdir(exist_ok=True)
        (made.proc / "cmdline").write_text("BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro quiet\n")
        for path, _, _ in device_nodes(host):
            (made.dev / path).parent.mkdir(parents=True, exist_ok=True)
            (made.dev / path).touch()
        return made

    return make
