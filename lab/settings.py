"""Where the lab keeps things and how much of it is built; everything comes from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LABEL = "mi50-lab"
NETWORK = "mi50-lab"
MIRROR_CONTAINER = "mi50-lab-mirror"
DEFAULT_ENGINES = ("llama-cpu",)
KNOWN_ENGINES = ("llama-cpu", "llama-vulkan")
DEFAULT_CARDS = ("one-mi50", "two-mi50")
MAX_NODES = 32


class LabError(Exception):
    """Something the user can act on; shown as one line, without a traceback."""


@dataclass(frozen=True)
class Settings:
    """One lab: its checkout, its cache and its nodes."""

    root: Path
    cache: Path
    nodes: int = 2
    cards: tuple[str, ...] = field(default=DEFAULT_CARDS)
    rocblas_all: bool = False
    inner_engine: bool = False
    engines: tuple[str, ...] = field(default=DEFAULT_ENGINES)

    @property
    def keys(self) -> Path:
        """Keys of this cache: made once, never part of a checkout."""
        return self.cache / "keys"

    @property
    def inventory(self) -> Path:
        """The lab's inventory folder inside the checkout."""
        return self.root / "inventories" / "lab"

    def node_names(self) -> list[str]:
        """Inventory names: node1, node2, ..."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def preset(self, name: str) -> str:
        """Which cards a node has: LAB_CARDS names one preset per node and is repeated for the rest."""
        return self.cards[(int(name.removeprefix("node")) - 1) % len(self.cards)]


def from_environment(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Settings:
    """Settings from LAB_NODES, LAB_CARDS, LAB_ROCBLAS, LAB_DOCKER, LAB_ENGINES, MI50_LAB_CACHE and XDG_CACHE_HOME.

    Raises LabError when one of them cannot be used.
    """
    env = os.environ if environ is None else environ
    nodes = env.get("LAB_NODES") or "2"
    if not nodes.isdigit() or not 1 <= int(nodes) <= MAX_NODES:
        raise LabError(f"LAB_NODES is {nodes!r}: give a number from 1 to {MAX_NODES}")
    cards = tuple(env.get("LAB_CARDS", "").replace(",", " ").split()) or DEFAULT_CARDS
    rocblas = env.get("LAB_ROCBLAS") or "subset"
    if rocblas not in {"subset", "all"}:
        raise LabError(f"LAB_ROCBLAS is {rocblas!r}: give 'subset' or 'all'")
    engines = tuple(env.get("LAB_ENGINES", "").replace(",", " ").split()) or DEFAULT_ENGINES
    if not set(engines) <= set(KNOWN_ENGINES):
        raise LabError(f"LAB_ENGINES is {' '.join(engines)!r}: give some of {' '.join(KNOWN_ENGINES)}")
    base = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".cache")
    cache = Path(env.get("MI50_LAB_CACHE") or str(Path(base) / "mi50-aipc" / "lab")).expanduser().absolute()
    return Settings(
        root=root or Path(__file__).resolve().parents[1],
        cache=cache,
        nodes=int(nodes),
        cards=cards,
        rocblas_all=rocblas == "all",
        inner_engine=(env.get("LAB_DOCKER") or "0") == "1",
        engines=engines,
    )
