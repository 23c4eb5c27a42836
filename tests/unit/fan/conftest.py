"""A board with two cards and every kind of fan chip, and the shell tools on it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.sysfs import build

ROOT = Path(__file__).resolve().parents[3]
FAILSAFE = ROOT / "roles" / "fan_control" / "files" / "failsafe"
NCT = "devices/platform/nct6775.656"
W83795 = "devices/pci0000:00/0000:00:1f.4/i2c-0/0-002f"
NCT7802 = "devices/pci0000:00/0000:00:1f.4/i2c-0/0-0028"
IT87 = "devices/platform/it87.2624"
ARCTIC = "devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/0003:3904:F001.0001"


@dataclass
class Board:
    """The simulated /sys and what runs on it."""

    sys: Path
    home: Path

    def attributes(self, device: str) -> Path:
        """Where the channels of a device lie."""
        found = sorted((self.sys / device).rglob("pwm1"))
        return found[0].parent

    def read(self, device: str, name: str) -> str:
        return (self.attributes(device) / name).read_text().strip()

    def every_pwm(self) -> dict[str, str]:
        """Duty of every channel, by path."""
        found = self.sys.rglob("pwm[0-9]*")
        return {str(path): path.read_text().strip() for path in found if path.name[3:].isdigit()}

    def lists(self, *lines: str, name: str = "channels") -> Path:
        path = self.home / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def full(self, *lists: Path, shell: str = "sh", wait: int = 0) -> subprocess.CompletedProcess[str]:
        words = [word for path in lists for word in ("--list", str(path))]
        return self.run("mi50-fan-full", *words, *(("--wait", str(wait)) if wait else ()), shell=shell)

    def run(self, program: str, *words: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
        argv = [*shell.split(), str(FAILSAFE / program), "--sysfs-root", str(self.sys), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    build(tmp_path / "sys", "two-mi50-fans")
    return Board(tmp_path / "sys", tmp_path)
