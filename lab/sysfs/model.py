"""What a simulated machine consists of. Values are those reported from real cards; `# [M]` marks one from memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from .fans import FanChip

GIB = 1 << 30
MIB = 1 << 20
# mem_info_vram_total of a 32 GB card, 32752 MiB: the firmware keeps 16 MiB (rocm-smi, "HMM registered 32752MB").
VRAM_32G = 34342961152
VRAM_16G = 17163091968


@dataclass(frozen=True)
class Card:
    """One AMD GPU. Sizes in bytes, power in watts, temperatures in degrees Celsius, link speed in GT/s."""

    model: str
    device_id: int
    revision: int
    subsystem: tuple[int, int]
    pci_class: int
    vram: int
    bar: int  # size of BAR 0, the CPU's window into VRAM
    vbios: str
    compute_units: int
    gfx_target_version: int = 90006
    power_limit: int = 225
    idle_power: int = 19
    temperatures: tuple[int, int, int] = (33, 34, 32)  # edge, junction, memory at idle
    card_link: tuple[float, int] = (16.0, 16)  # what the card's own switch can do
    slot_link: tuple[float, int] = (16.0, 16)  # what the slot (or riser) in front of it can do
    has_switch: bool = True  # Vega 20 sits behind 1002:14a0 and 1002:14a1 on its own board
    has_audio: bool = False
    has_ras: bool = True
    has_fan: bool = False  # a passive card shows fan1/pwm1 all the same, reading 0 RPM
    integrated: bool = False
    driver: str = "amdgpu"  # "" = no driver bound
    missing: tuple[str, ...] = ()  # paths below the PCI device that this card does not have
    kfd: bool = True

    @property
    def visible_vram(self) -> int:
        """Bytes of VRAM the CPU can address: never more than BAR 0."""
        return min(self.vram, self.bar)


MI50 = Card(
    "mi50", 0x66A1, 0x02, (0x1002, 0x0834), 0x038000, VRAM_32G, 32 * GIB, "113-D1631700-111", 60
)  # idx:59157712219, idx:12992230444
CARDS: dict[str, Card] = {
    "mi50:32": MI50,
    # ROCm/ROCm#4793 shows rev 01 with Region 0 of 16G; VBIOS named by the gist in gfx906.md 5.3.
    "mi50:16bar": replace(MI50, revision=0x01, bar=16 * GIB, vbios="113-D1631711-100"),
    "mi50:16": replace(MI50, vram=VRAM_16G, bar=16 * GIB, vbios="113-D1631400-X11"),
    # 256 MiB is the BAR without "Above 4G Decoding".
    "mi50:256mbar": replace(MI50, bar=256 * MIB),
    # An x1 mining riser: the GPU function still reports x16, because that is the link inside the card.
    "mi50:riser": replace(MI50, slot_link=(2.5, 1)),
    "mi60": replace(MI50, model="mi60", compute_units=64, power_limit=225, vbios="113-D1630600-105"),  # VBIOS [M]
    "pro-vii": replace(
        MI50,
        model="pro-vii",
        revision=0x06,
        subsystem=(0x1002, 0x081E),
        pci_class=0x030000,
        vram=VRAM_16G,
        bar=16 * GIB,
        vbios="113-D1640600-043",
        power_limit=250,
        has_audio=True,
        has_fan=True,
    ),  # subsystem and SKU: idx:6742276018
    "radeon-vii": Card(
        "radeon-vii",
        0x66AF,
        0xC1,
        (0x1002, 0x081E),
        0x030000,
        VRAM_16G,
        256 * MIB,
        "113-D3600200-106",
        60,
        power_limit=250,
        card_link=(8.0, 16),
        has_audio=True,
        has_ras=False,
        has_fan=True,
    ),
    # Ryzen 5000G: 512 MiB carve-out; KFD shows it as a GPU node of its own (gfx90c) on current kernels.
    "igpu": Card(
        "igpu",
        0x1638,
        0xC9,
        (0x1043, 0x8809),
        0x030000,
        512 * MIB,
        512 * MIB,
        "113-CEZANNE-018",
        7,
        gfx_target_version=90012,
        power_limit=0,
        card_link=(8.0, 16),
        slot_link=(8.0, 16),
        has_switch=False,
        has_audio=True,
        has_ras=False,
        integrated=True,
    ),
}


@dataclass(frozen=True)
class Host:
    """A machine: its cards in slot order, whether it has a BMC with VGA, and what seeds the unique ids."""

    cards: tuple[Card, ...] = field(default_factory=tuple)
    bmc: bool = False
    seed: str = "mi50"
    module_version: str = ""  # only DKMS's amdgpu has a version file; the in-tree module has none
    cpu_cores: int = 16
    fan_chips: tuple[FanChip, ...] = ()  # none: the driver of the board's chip is not loaded


@dataclass(frozen=True)
class Placed:
    """A card with the addresses the machine gives it."""

    card: Card
    chain: tuple[str, ...]  # PCI addresses from the root port down to the GPU function
    drm_card: int
    render_minor: int
    hwmon: int
    kfd_node: int
    unique_id: str

    @property
    def address(self) -> str:
        """PCI address of the GPU function."""
        return self.chain[-1]


# Root ports of the slots. 08 leads to an APU's GPU as on a Ryzen; 18 and 1c belong to the CPU and the BMC.
_PORTS = [*range(0x01, 0x08), *range(0x09, 0x11)]


def place(host: Host) -> list[Placed]:
    """Number cards as a kernel would: slots in order, cardN after the BMC's card0, hwmon after the CPU's hwmon0.

    Raises:
        ValueError: more cards than the simulated board has slots, or more than one APU.
    """
    integrated = sum(card.integrated for card in host.cards)
    if integrated > 1 or len(host.cards) - integrated > len(_PORTS):
        raise ValueError(f"the simulated board takes {len(_PORTS)} cards and one APU")
    placed: list[Placed] = []
    slot = 0
    node = 1
    for index, card in enumerate(host.cards):
        if card.integrated:
            chain: tuple[str, ...] = ("0000:00:08.1", "0000:30:00.0")
        else:
            first = 1 + 3 * slot
            buses = (first, first + 1, first + 2) if card.has_switch else (first + 2,)
            chain = (f"0000:00:{_PORTS[slot]:02x}.1", *(f"0000:{bus:02x}:00.0" for bus in buses))
            slot += 1
        digest = hashlib.sha256(f"{host.seed}/{chain[-1]}".encode()).hexdigest()
        has_node = card.kfd and bool(card.driver)
        placed.append(
            Placed(card, chain, index + int(host.bmc), 128 + index, 1 + index, node if has_node else 0, digest[:16])
        )
        node += int(has_node)
    return placed
