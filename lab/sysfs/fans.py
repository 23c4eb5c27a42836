"""Fan chips of a motherboard: where their attributes lie and what they show. name -> text without the newline."""

from __future__ import annotations

from dataclasses import dataclass

FIRMWARE_AUTO = 2  # pwmN_enable: 0 full speed, 1 manual, 2 and higher the chip's own automatic modes


@dataclass(frozen=True)
class FanChip:
    """One chip (or USB controller) with `channels` headers; `rpm` is what a tacho reads at full speed."""

    name: str
    device: str  # real path behind hwmonN/device, below the sysfs root
    driver: str
    channels: int
    enable: int | None = FIRMWARE_AUTO  # None: no pwmN_enable at all
    auto_points: int = 0  # entries of pwmN_auto_pointM_{temp,pwm}; the last one is the critical point
    under_device: bool = False  # old registration: attributes and name lie in hwmonN/device
    firmware_duty: int = 64
    rpm: int = 3000


# Attributes and modes: kernel documentation of each driver and fan-drivers-measured.md section 2.
FAN_CHIPS: dict[str, FanChip] = {
    # SmartFan IV is 5; its table has seven points here, the last of them for the critical temperature.
    "nct6798": FanChip("nct6798", "devices/platform/nct6775.656", "nct6775", 7, enable=5, auto_points=7),
    "it8696": FanChip("it8696", "devices/platform/it87.2624", "it87", 6, auto_points=4),
    "w83795g": FanChip(
        "w83795g", "devices/pci0000:00/0000:00:1f.4/i2c-0/0-002f", "w83795", 8, enable=3, under_device=True
    ),
    "nct7802": FanChip("nct7802", "devices/pci0000:00/0000:00:1f.4/i2c-0/0-0028", "nct7802", 3, auto_points=5),
    # USB, manual only: no pwmN_enable, and one report carries all ten channels.
    "arctic_fan": FanChip(
        "arctic_fan",
        "devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4:1.0/0003:3904:F001.0001",
        "arctic_fan",
        10,
        enable=None,
    ),
}


def fan_files(chip: FanChip) -> dict[str, str]:
    """Attributes of every channel, as the firmware leaves them: automatic, a quarter of full speed."""
    files: dict[str, str] = {}
    for number in range(1, chip.channels + 1):
        files[f"pwm{number}"] = str(chip.firmware_duty)
        # The first three headers have a fan on them.
        files[f"fan{number}_input"] = str(round(chip.rpm * chip.firmware_duty / 255)) if number <= 3 else "0"
        if chip.enable is not None:
            files[f"pwm{number}_enable"] = str(chip.enable)
            files[f"pwm{number}_mode"] = "1"
        for point in range(1, chip.auto_points + 1):
            share = (point - 1) / (chip.auto_points - 1)
            files[f"pwm{number}_auto_point{point}_temp"] = str(round(40 + 45 * share) * 1000)
            files[f"pwm{number}_auto_point{point}_pwm"] = str(round(64 + 128 * share))
    if chip.auto_points:
        files.update({"temp1_input": "31000", "temp1_label": "SYSTIN", "temp2_input": "36500", "temp2_label": "CPUTIN"})
    return files
