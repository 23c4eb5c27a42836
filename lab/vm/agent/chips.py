"""The three fan chips as their drivers address them: which byte means what, and what the chip makes of it.

Register numbers and encodings are those of the kernel's drivers adt7475, w83795 and nct7802, and of the data sheets.
A register is its place in the stand-in bus's register file: bank * 256 + number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

# RPM of the simulated blower at full duty. It turns from 0 duty on, in proportion.
FULL_RPM = 4000
# Duty of the firmware's own automatic curve: it follows sensors that do not see the cards.
FIRMWARE_DUTY = 64
BANK = 256


def rpm_at(duty: int) -> int:
    """RPM of the simulated blower at a duty of 0..255."""
    return FULL_RPM * duty // 255


@dataclass(frozen=True)
class Kind:
    """One kind of chip: how to make a fresh one, and how to read it behind its driver."""

    name: str  # as new_device takes it
    module: str
    address: int
    channels: int
    fresh: dict[int, int]
    # Whether channel N (from 0) is in the firmware's hands, and the duty that the firmware gives it.
    automatic: Callable[[bytes, int], bool]
    firmware: Callable[[bytes, int], int]
    # Whether channel N runs at full speed whatever its duty register says.
    full: Callable[[bytes, int], bool]
    duty_register: Callable[[int], int]
    # Bytes by register that show an RPM (0: stopped) on the tacho of channel N.
    tacho: Callable[[int, int], dict[int, int]]
    # Bytes by register with which firmware takes all channels back.
    take_back: Callable[[bytes], dict[int, int]]
    # In automatic mode the duty register shows the output (adt7475), or keeps what was written.
    shows_output: bool = False
    banks: tuple[int, int, int] = field(default=(0, 0, 0))  # selector, mask, first banked register

    def effective(self, registers: bytes, channel: int) -> int:
        """Duty 0..255 that the pin of a channel (from 0) really has."""
        if self.automatic(registers, channel):
            return self.firmware(registers, channel)
        if self.full(registers, channel):
            return 255
        return registers[self.duty_register(channel)]


def _never(registers: bytes, channel: int) -> bool:
    del registers, channel
    return False


# --- adt7475: bits 7..5 of 0x5c+N: 111 manual, 011 full speed, the rest automatic; 0x64+N is the automatic minimum.
def _adt_mode(registers: bytes, channel: int) -> int:
    return registers[0x5C + channel] >> 5


def _adt_tacho(channel: int, rpm: int) -> dict[int, int]:
    count = min(5_400_000 // rpm, 0xFFFE) if rpm else 0xFFFF
    return {0x28 + 2 * channel: count & 0xFF, 0x29 + 2 * channel: count >> 8}


ADT7475 = Kind(
    name="adt7475",
    module="adt7475",
    address=0x2E,
    channels=3,
    fresh={
        **{0x3D: 0x75, 0x3E: 0x41, 0x3F: 0x69},  # ids
        **{0x40: 0x05, 0x7C: 0x01},  # started, ready; temperatures in two's complement
        **{0x25: 40, 0x26: 40, 0x27: 40, 0x4F: 127, 0x51: 127, 0x53: 127, 0x6A: 110, 0x6B: 110, 0x6C: 110},
        **{0x5C: 0xC2, 0x5D: 0xC2, 0x5E: 0xC2, 0x38: 255, 0x39: 255, 0x3A: 255},
        **{register: FIRMWARE_DUTY for register in (0x30, 0x31, 0x32, 0x64, 0x65, 0x66)},
    },
    automatic=lambda registers, channel: _adt_mode(registers, channel) not in (3, 7),
    firmware=lambda registers, channel: registers[0x64 + channel],
    full=lambda registers, channel: _adt_mode(registers, channel) == 3,
    duty_register=lambda channel: 0x30 + channel,
    tacho=_adt_tacho,
    take_back=lambda registers: {0x5C + n: registers[0x5C + n] & 0x1F | 0xC0 for n in range(3)},
    shows_output=True,
)


# --- w83795: a channel is automatic when a temperature is mapped to it (0x202..0x207) or a target speed is set (0x201).
def _w83795_tacho(channel: int, rpm: int) -> dict[int, int]:
    # The driver takes the low bits from a register that all tachos share: this chip always shows 0 there.
    return {0x2E + channel: max(min(1_350_000 // rpm >> 4, 0xFE), 1) if rpm else 0, 0x3C: 0}


W83795 = Kind(
    name="w83795g",
    module="w83795",
    address=0x2F,
    channels=2,
    fresh={
        **{0xFD: 0xA3, 0xFE: 0x79, 0xFB: 0x51, 0xFC: 0x2F, 0x01: 0x01},  # ids, started
        **{0x06: 0x03, 0x05: 0x01, 0x21: 40, 0x96: 110, 0x97: 100, 0x98: 100, 0x99: 95},  # two tachos, one diode
        **{0x202: 0xFF, 0x20F: 0x00},
        **{0x210 + n: FIRMWARE_DUTY for n in range(8)},
    },
    automatic=lambda registers, channel: any(registers[r] >> channel & 1 for r in range(0x201, 0x208)),
    firmware=lambda registers, channel: FIRMWARE_DUTY,
    full=_never,
    duty_register=lambda channel: 0x210 + channel,
    tacho=_w83795_tacho,
    take_back=lambda registers: {0x202: 0xFF},
    banks=(0x00, 0x07, 0x01),
)


# --- nct7802: 0x64/0x65 hold the automatic bits (0, 4 | 0); 0x85+16N is the first point of channel N's curve.
def _nct_bit(channel: int) -> tuple[int, int]:
    return 0x64 + channel // 2, channel % 2 * 4


def _nct_tacho(channel: int, rpm: int) -> dict[int, int]:
    return {0x10 + channel: max(min(1_350_000 // rpm >> 5, 0xFE), 1) if rpm else 0, 0x13: 0}


NCT7802 = Kind(
    name="nct7802",
    module="nct7802",
    address=0x28,
    channels=3,
    fresh={
        **{0xFD: 0x50, 0xFE: 0xC3, 0xFF: 0x20, 0x21: 0x01, 0x22: 0x7E, 0x24: 0x07, 0x25: 0x03},
        **{0x01: 40, 0x02: 40, 0x03: 40, 0x04: 40, 0x30: 110, 0x32: 110, 0x34: 110, 0x36: 110},
        **{0x64: 0x11, 0x65: 0x01},
        **{0x60 + n: FIRMWARE_DUTY for n in range(3)},
        **{0x85 + 16 * n + point: FIRMWARE_DUTY + 32 * point for n in range(3) for point in range(4)},
    },
    automatic=lambda registers, channel: bool(registers[_nct_bit(channel)[0]] >> _nct_bit(channel)[1] & 1),
    firmware=lambda registers, channel: registers[0x85 + 16 * channel],
    full=_never,
    duty_register=lambda channel: 0x60 + channel,
    tacho=_nct_tacho,
    take_back=lambda registers: {0x64: registers[0x64] | 0x11, 0x65: registers[0x65] | 0x01},
)

KINDS = {kind.name: kind for kind in (ADT7475, W83795, NCT7802)}
