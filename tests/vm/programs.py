"""The programs under comparison, each under its own unit, governing two blowers for two cards on one chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.vm.agent.chips import FULL_RPM
from tests.conftest import load_plugin
from tests.vm.bench import Bench, Chip

ROLE = Path(__file__).resolve().parents[2] / "roles" / "fan_control"
CALIBRATION = [[duty, FULL_RPM * duty // 100] for duty in (20, 40, 60, 80, 100)]
# Seconds of the guest until the slowest of the three is quiet after its start; mi50-fand comes down from full speed.
SETTLE = 90.0


def blower(name: str, chip: Chip, channel: int, cards: Sequence[str], **extra: Any) -> dict[str, Any]:
    """A blower as an inventory of the role describes it, mapped and calibrated."""
    return {
        "name": name,
        "device": chip.device,
        "chip": chip.kind.name,
        "channel": channel,
        "tacho": channel,
        "gpus": list(cards),
        "calibration": CALIBRATION,
        "start": 20,
        **extra,
    }


def role_settings(**given: Any) -> dict[str, Any]:
    """Variables of the role by their names without `fan_control_`: its defaults, and what is given."""
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    plain = {name.removeprefix("fan_control_"): value for name, value in defaults.items()}
    return {**plain, "sysfs_root": "/sys", "proc_root": "/proc", **given}


@dataclass(frozen=True)
class Fand:
    """The daemon, installed as the role installs it: the same files, rendered by the role's own lookup."""

    name: str = "mi50-fand"
    unit: str = "mi50-fand.service"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def install(self, bench: Bench, chip: Chip) -> None:
        """Two blowers, one for each card."""
        both = [blower(f"blower{n}", chip, n + 1, [card.pci]) for n, card in enumerate(bench.cards)]
        self.install_with(bench, both)

    def install_with(self, bench: Bench, blowers: Sequence[Mapping[str, Any]]) -> None:
        """Any blowers."""
        plugin = load_plugin("lookup_plugins", "mi50_fan")
        settings = role_settings(blowers=list(blowers), **self.settings)
        plan = plugin.configured(settings)
        files = {file["path"]: file for file in [*plugin.shipped(), *plugin.rendered(settings)]}
        executable = frozenset(path for path, file in files.items() if file["mode"] == "0755")
        contents: dict[str, str | bytes | Path] = {path: str(file["content"]) for path, file in files.items()}
        contents["/etc/mi50-fand/config.json"] = plan["config"]
        contents["/etc/mi50-fand/channels"] = plan["channels"]
        bench.machine.put(contents, executable=executable)
        bench.machine.run("systemctl", "daemon-reload")

    def start(self, bench: Bench) -> float:
        """Start the unit; the guest's time before it."""
        moment = bench.now()
        bench.machine.run("systemctl", "start", "--no-block", self.unit)
        return moment


def _hwmon(bench: Bench, card: int) -> str:
    return bench.machine.run("ls", f"{bench.cards[card].device}/hwmon").strip()


@dataclass(frozen=True)
class Fancontrol:
    """lm-sensors' fancontrol, configured as its pwmconfig does: the junction of each card to one channel."""

    interval: int = 10
    unit: str = "fancontrol.service"

    @property
    def name(self) -> str:
        """With the interval, which is 10 s unless the user changes it."""
        return f"fancontrol, {self.interval} s"

    def install(self, bench: Bench, chip: Chip) -> None:
        """/etc/fancontrol; the start, stop and lowest duties are those of the field note."""
        hwmons = [_hwmon(bench, 0), _hwmon(bench, 1)]
        outputs = [f"{chip.hwmon}/pwm1", f"{chip.hwmon}/pwm2"]
        devices = {hwmons[0]: bench.cards[0].pci, hwmons[1]: bench.cards[1].pci}
        per_channel = {"MINTEMP": 45, "MAXTEMP": 90, "MINSTART": 90, "MINSTOP": 70, "MINPWM": 70}
        lines = [
            f"INTERVAL={self.interval}",
            "DEVPATH="
            + " ".join(
                [*(f"{h}=devices/pci0000:00/{pci}" for h, pci in devices.items()), f"{chip.hwmon}={chip.device}"]
            ),
            "DEVNAME=" + " ".join([*(f"{h}=amdgpu" for h in hwmons), f"{chip.hwmon}={chip.kind.name}"]),
            "FCTEMPS=" + " ".join(f"{out}={h}/temp2_input" for out, h in zip(outputs, hwmons)),
            "FCFANS=" + " ".join(f"{out}={chip.hwmon}/fan{n}_input" for n, out in enumerate(outputs, 1)),
            *(f"{key}=" + " ".join(f"{out}={value}" for out in outputs) for key, value in per_channel.items()),
        ]
        bench.machine.put({"/etc/fancontrol": "\n".join(lines) + "\n"})

    def start(self, bench: Bench) -> float:
        """Start the unit."""
        moment = bench.now()
        bench.machine.run("systemctl", "start", "--no-block", self.unit)
        return moment


@dataclass(frozen=True)
class Thinkfan:
    """thinkfan with the levels of the field note, each path by its device, as its example advises."""

    name: str = "thinkfan"
    unit: str = "thinkfan.service"

    def install(self, bench: Bench, chip: Chip) -> None:
        """/etc/thinkfan.yaml."""
        sensors = [
            {"hwmon": f"/sys/devices/pci0000:00/{card.pci}/hwmon", "name": "amdgpu", "indices": [2]}
            for card in bench.cards
        ]
        fans = [{"hwmon": f"/sys/{chip.device}/hwmon", "name": chip.kind.name, "indices": [1, 2]}]
        levels = [[80, 0, 55], [130, 50, 65], [190, 60, 75], [255, 70, 255]]
        text = yaml.safe_dump({"sensors": sensors, "fans": fans, "levels": levels}, sort_keys=False)
        bench.machine.put({"/etc/thinkfan.yaml": text})

    def start(self, bench: Bench) -> float:
        """Start the unit."""
        moment = bench.now()
        bench.machine.run("systemctl", "start", "--no-block", self.unit)
        return moment


Program = Fand | Fancontrol | Thinkfan
