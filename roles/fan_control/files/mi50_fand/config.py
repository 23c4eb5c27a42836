"""The configuration as objects."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from . import rules, schema

if TYPE_CHECKING:
    from typing import Any

    from .curve import Points

SENSORS = ("edge", "junction", "mem")


class ConfigError(Exception):
    """The file is refused; `problems` are lines for people."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the lines."""
        super().__init__("\n".join(problems))
        self.problems = problems


class GpuConfig:
    """One card. Temperatures in °C, power in W."""

    __slots__ = ("cap_watts", "curves", "limits", "mandatory", "name", "pci", "power_curve", "stop_units", "unique_id")

    def __init__(self, data: dict[str, Any]) -> None:
        """Take a checked mapping."""
        self.name: str = data["name"]
        self.pci: str = data["pci"]
        self.unique_id: str = data["unique_id"]
        self.mandatory: dict[str, bool] = {name: data["sensors"][name] == "mandatory" for name in SENSORS}
        self.limits: dict[str, float] = dict(data["limits"])
        self.curves: dict[str, Points] = {name: rules.points(data["curves"][name]) for name in SENSORS}
        self.power_curve: Points = rules.points(data["power_curve"])
        self.cap_watts: float = data["cap_watts"]
        self.stop_units: list[str] = data["stop_units"]


class BlowerConfig:
    """One blower. Duties in %."""

    __slots__ = ("arm_auto", "calibration", "channel", "chip", "controlled", "device", "floor", "gpus", "name", "tacho")

    def __init__(self, data: dict[str, Any]) -> None:
        """Take a checked mapping."""
        self.name: str = data["name"]
        self.controlled: bool = data["mode"] == "controlled"
        self.gpus: list[str] = data["gpus"]
        self.device: str = data["device"]
        self.chip: str = data["chip"]
        self.channel: int = data.get("channel", 0)
        self.tacho: int | None = data["tacho"]
        self.floor: float = data["floor"]
        self.calibration: Points = rules.points(data["calibration"])
        self.arm_auto: bool = data["arm_auto"]

    @property
    def key(self) -> str:
        """Identity that survives a reload: the channel, or for a monitored blower its name."""
        return f"{self.device}#{self.channel}" if self.channel else f"monitored#{self.name}"


class Config:
    """The whole file."""

    def __init__(self, data: dict[str, Any], warnings: list[str]) -> None:
        """Take a checked mapping and what `check` warns of."""
        self.warnings = warnings
        self.interval: float = data["interval"]
        self.gpus = [GpuConfig(entry) for entry in data["gpus"]]
        self.blowers = [BlowerConfig(entry) for entry in data["blowers"]]
        self.law: dict[str, float] = data["law"]
        self.ladder: dict[str, Any] = data["ladder"]
        self.runtime: str = data["paths"]["runtime"]
        self.metrics: str = data["paths"]["metrics"]
        self.wanted_caps: str = data["paths"]["wanted_caps"]
        self.stop_command: list[str] = data["commands"]["stop_unit"]
        self.off_command: list[str] = data["commands"]["power_off"]

    def cooled_by(self, gpu: str) -> list[BlowerConfig]:
        """The blowers of a card."""
        return [blower for blower in self.blowers if gpu in blower.gpus]

    def channel_list(self) -> str:
        """Owned channels for the shell fail-safe: device, chip, channel and name with TABs between them."""
        rows = [f"{b.device}\t{b.chip}\t{b.channel}\t{b.name}\n" for b in self.blowers if b.controlled]
        return "# device, chip, channel, name of every channel that mi50-fand owns\n" + "".join(rows)


def parse(text: str) -> Config:
    """A configuration from JSON text. Raises ConfigError with every mistake found."""
    try:
        data = json.loads(text, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise ConfigError([f"line {error.lineno}, column {error.colno}: no JSON here ({error.msg})"]) from error
    except ValueError as error:
        raise ConfigError([str(error)]) from error
    problems: list[str] = []
    rule_file = os.path.join(os.path.dirname(__file__), "schema.json")
    with open(rule_file, encoding="utf-8") as stream:
        filled = schema.check(data, json.load(stream), "", problems)
    if problems:
        raise ConfigError(problems)
    problems, warnings = rules.check(filled)
    if problems:
        raise ConfigError(problems)
    return Config(filled, warnings)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON keeps the last of two equal keys silently; here that is a mistake."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key}: given twice in one object; keep one of them")
        found[key] = value
    return found


def load(path: str) -> Config:
    """A configuration from a file. Raises ConfigError; a file that cannot be read counts as a mistake."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"cannot be read: {error}; give its path with --config"]) from error
    return parse(text)
