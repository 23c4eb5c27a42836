"""Where the lab keeps things and how much of it is built; everything comes from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What the lab made carries this label; with the lab's name as its value where each lab has its own.
LABEL = "mi50-lab"
DEFAULT_NAME = "mi50-lab"
DEFAULT_ENGINES = ("llama-cpu",)
KNOWN_ENGINES = ("llama-cpu", "llama-vulkan")
DEFAULT_CARDS = ("one-mi50", "two-mi50")
MAX_NODES = 32


class LabError(Exception):
    """Something the user can act on; shown as one line, without a traceback."""


def lab_name(environ: Mapping[str, str]) -> str:
    """The name of this lab: several labs can run beside each other, each from a checkout of its own.

    Raises LabError when LAB_NAME is no name that containers can have.
    """
    name = environ.get("LAB_NAME") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"LAB_NAME is {name!r}: give lower-case letters, digits and hyphens, 31 at most")
    return name


def _named() -> str:
    try:
        return lab_name(os.environ)
    except LabError as exc:
        raise SystemExit(f"lab: {exc}") from None


NAME = _named()
NETWORK = NAME
MIRROR_CONTAINER = f"{NAME}-mirror"
OURS = f"{LABEL}={NAME}"


@dataclass(frozen=True)
class Settings:
    """One lab: its checkout, its cache and its nodes."""

    root: Path
    cache: Path
    nodes: int = 2
    cards: tuple[str, ...] = field(default=DEFAULT_CARDS)
    rocblas_all: bool = False
    inner_engine: bool = False
    docker_nodes: tuple[str, ...] = ()
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

    def has_docker(self, name: str) -> bool:
        """Whether a container engine can run inside a node: in all of them, or in those that are named."""
        return self.inner_engine or name in self.docker_nodes

    def preset(self, name: str) -> str:
        """Which cards a node has: LAB_CARDS names one preset per node and is repeated; other hosts have none."""
        if not re.fullmatch(r"node\d+", name):
            return "none"
        return self.cards[(int(name.removeprefix("node")) - 1) % len(self.cards)]


def from_environment(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Settings:
    """Settings from LAB_*, MI50_LAB_CACHE and XDG_CACHE_HOME (docs/lab.md).

    Raises LabError when one of them cannot be used.
    """
    env = os.environ if environ is None else environ
    lab_name(env)
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
