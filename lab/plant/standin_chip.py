"""Stand-in for fan chips and a card's hwmon in a MemorySysfs, coupled to the thermal model.

It replaces the drivers' attributes, with the habits measured on real ones (modes refused, modes cached, writes
dropped). It does not prove that a driver has exactly these habits: tests/vm runs the real ones.
"""

from __future__ import annotations

import errno

from lab.plant.model import Die, Fan
from lab.plant.standin_sysfs import MemorySysfs

FIRMWARE = 64  # what the header's own curve gives, blind to the card
AUTO = 2


class Channel:
    """One pwm channel: what the chip really does (`mode`, `pwm`), and what the driver shows."""

    def __init__(self, fan: Fan) -> None:
        """The firmware's automatic mode, as after power-up."""
        self.fan = fan
        self.mode = AUTO
        self.pwm = FIRMWARE
        self.shown_mode = AUTO
        self.shown_pwm = FIRMWARE
        self.points = [FIRMWARE, 128]

    def effective(self) -> int:
        """Duty that reaches the header, 0 to 255."""
        return 255 if self.mode == 0 else self.pwm if self.mode == 1 else self.points[0]


class Chip:
    """A fan chip. `modes` it accepts; `cached`: a mode equal to the shown one is swallowed; `lost`: nothing gets in."""

    def __init__(self, io: MemorySysfs, fans: dict[int, Fan], device: str, name: str, hwmon: str = "hwmon3") -> None:
        """Put it into the tree under a number."""
        self.io = io
        self.device = device
        self.name = name
        self.modes = {0, 1, 2, 5}
        self.has_enable = True
        self.cached = False
        self.lost = False
        self.in_device = False  # attributes in hwmonN/device, as old registrations have them
        self.tacho: dict[int, str] = {}  # what a tacho reads instead of its blower's speed
        self.channels = {number: Channel(fan) for number, fan in fans.items()}
        self.plug(hwmon)

    def plug(self, hwmon: str) -> None:
        """Appear under a number."""
        own = f"{self.device}/hwmon/{hwmon}"
        self.base = self.device if self.in_device else own
        self.io.values[f"{own}/uevent"] = ""
        self.io.links[f"class/hwmon/{hwmon}"] = own
        self.io.links[f"{own}/device"] = self.device
        self.io.values[f"{self.base}/name"] = self.name
        for number, channel in self.channels.items():
            self._attributes(number, channel)

    def unplug(self) -> None:
        """Vanish."""
        self.io.remove(self.device)

    def _attributes(self, number: int, channel: Channel) -> None:
        stem = f"{self.base}/pwm{number}"
        self.io.values[stem] = lambda: str(channel.shown_pwm)
        self.io.hooks[stem] = lambda value: self._set_pwm(channel, value)
        if self.has_enable:
            self.io.values[f"{stem}_enable"] = lambda: str(channel.shown_mode)
            self.io.hooks[f"{stem}_enable"] = lambda value: self._set_mode(channel, value)
            for point in range(len(channel.points)):
                path = f"{stem}_auto_point{point + 1}_pwm"
                self.io.values[path] = lambda point=point: str(channel.points[point])  # type: ignore[misc]
                self.io.hooks[path] = lambda value, point=point: self._set_point(channel, point, value)  # type: ignore[misc]
        else:
            channel.mode = 1
        self.io.values[f"{self.base}/fan{number}_input"] = lambda: self.tacho.get(number, str(channel.fan.rpm))

    def _set_point(self, channel: Channel, point: int, value: int) -> None:
        channel.points[point] = value

    def _set_pwm(self, channel: Channel, value: int) -> None:
        if not 0 <= value <= 255:
            raise OSError(errno.EINVAL, "out of range")
        channel.shown_pwm = value
        if not self.lost:
            channel.pwm = value

    def _set_mode(self, channel: Channel, value: int) -> None:
        if value not in self.modes:
            raise OSError(errno.EINVAL, "no such mode")
        swallowed = self.cached and value == channel.shown_mode
        channel.shown_mode = value
        if not (self.lost or swallowed):
            channel.mode = value

    def firmware_takes(self, number: int, shown: int | None = None) -> None:
        """The firmware sets its own mode; `shown` is what the driver then reads, None when it does not notice."""
        channel = self.channels[number]
        channel.mode = 0 if shown == 0 else AUTO
        if shown is not None:
            channel.shown_mode = shown

    def step(self, seconds: float) -> None:
        """Drive the blowers."""
        for channel in self.channels.values():
            channel.fan.duty = channel.effective() / 255
            channel.fan.step(seconds)


class ManualOnlyChip(Chip):
    """A controller like arctic_fan: no mode, and each command carries the driver's cache of all channels."""

    def __init__(self, io: MemorySysfs, fans: dict[int, Fan], device: str, name: str, hwmon: str = "hwmon3") -> None:
        """The cache starts at 0, the blowers at what the firmware gives."""
        super().__init__(io, fans, device, name, hwmon)
        self.io.remove(self.device)
        self.has_enable = False
        self.plug(hwmon)
        self.forget()

    def forget(self) -> None:
        """What probe and resume do to the cache."""
        for channel in self.channels.values():
            channel.shown_pwm = 0

    def _set_pwm(self, channel: Channel, value: int) -> None:
        channel.shown_pwm = value
        for other in self.channels.values():
            other.pwm = other.shown_pwm


class Card:
    """amdgpu's hwmon of one card, fed by the thermal model, in whole °C as the driver gives them."""

    def __init__(self, io: MemorySysfs, die: Die, pci: str, hwmon: str) -> None:
        """Put it into the tree."""
        self.io = io
        self.die = die
        self.pci = pci
        self.device = f"devices/pci0000:00/{pci}"
        self.cap_max = 225.0
        self.cap_min = 30.0
        self.cap_ignored = False
        self.plug(hwmon)

    def plug(self, hwmon: str) -> None:
        """Appear under a number, phantom fan included."""
        self.base = base = f"{self.device}/hwmon/{hwmon}"
        values, die = self.io.values, self.die
        self.io.links[f"bus/pci/devices/{self.pci}"] = self.device
        self.io.links[f"class/hwmon/{hwmon}"] = base
        self.io.links[f"{base}/device"] = self.device
        values[f"{self.device}/power/runtime_status"] = "active"
        values[f"{self.device}/vendor"] = "0x1002"
        values[f"{self.device}/device"] = "0x66a1"
        values[f"{self.device}/unique_id"] = f"{int(self.pci[5:7], 16):016x}"
        values[f"{base}/name"] = "amdgpu"
        crit = (("edge", 100), ("junction", 105), ("mem", 94))
        for number, (label, critical) in enumerate(crit, 1):
            values[f"{base}/temp{number}_label"] = label
            values[f"{base}/temp{number}_crit"] = f"{critical}000"
            values[f"{base}/temp{number}_input"] = lambda label=label: f"{int(getattr(die, label))}000"  # type: ignore[misc]
        values[f"{base}/power1_average"] = lambda: str(int(die.power * 1e6))
        values[f"{base}/power1_cap"] = lambda: str(int(die.cap * 1e6))
        values[f"{base}/power1_cap_min"] = lambda: str(int(self.cap_min * 1e6))
        values[f"{base}/power1_cap_max"] = lambda: str(int(self.cap_max * 1e6))
        values |= {f"{base}/pwm1": "255", f"{base}/pwm1_enable": "1", f"{base}/fan1_input": "0"}
        self.io.hooks[f"{base}/power1_cap"] = self._set_cap

    def _set_cap(self, value: int) -> None:
        if not self.cap_min * 1e6 <= value <= self.cap_max * 1e6:
            raise OSError(errno.EINVAL, "out of range")
        if not self.cap_ignored:
            self.die.cap = value / 1e6

    def unplug(self) -> None:
        """Fall off the bus."""
        self.io.remove(self.device)

    def unbind(self) -> None:
        """Lose the driver and keep the PCI device."""
        self.io.remove(f"{self.device}/hwmon")
