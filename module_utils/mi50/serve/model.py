"""What a service is. Data only; sizes in bytes, times in seconds, speeds in tokens a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..process import Finished

# Names on the node. `{}` is the service's name, which is the role's.
UNIT = "mi50-{}.service"
HEALTH_UNIT = "mi50-{}-health.service"
HEALTH_TIMER = "mi50-{}-health.timer"
CONFIG = "/etc/mi50-aipc/serve/{}.json"
STATE_DIR = "/var/lib/mi50-aipc/serve/{}"
RUN_DIR = "/run/mi50-aipc/serve"
# The health program: a command, and the modules `health` and `probe` of this package as they are.
PROGRAM = "/usr/local/sbin/mi50-serve"
PROGRAM_DIR = "/usr/local/lib/mi50-aipc/mi50_serve"


class ServeError(Exception):
    """Something a person has to mend; the text names what, its value and the way out. Nothing was changed."""


class Later(str):
    """A problem that another role of the same run mends before this one: in check mode it is told, and no failure."""

    __slots__ = ()


class NotReady(ServeError):
    """A started service that does not answer as it must; the text says how it fell short."""


class Runner(Protocol):
    """Starts a program, as `mi50.process.run` does."""

    def __call__(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        """Return what it said. Raises OSError when it cannot be started, subprocess.TimeoutExpired."""


@dataclass(frozen=True)
class Node:
    """The machine: where its trees are and how programs, time and progress are reached. Tests give their own."""

    run: Runner
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    root: Path = Path("/")
    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    say: Callable[[str], None] = field(default=lambda text: None)

    def path(self, name: str) -> Path:
        """Where an absolute path of the node lies below `root`."""
        return self.root / name.lstrip("/")


class Gpu(NamedTuple):
    """A chosen card. `kfd_node` is KFD's index, `vram` and `visible` are bytes, `vbios` its firmware's name."""

    pci: str
    render: str  # device file, /dev/dri/renderD128
    card: str  # device file, /dev/dri/card1, or ""
    kfd_node: int | None
    vram: int
    visible: int
    product: str
    vbios: str


class Device(NamedTuple):
    """What an engine itself says it computes on: name, memory in bytes, PCI address ("" and None: not told)."""

    name: str
    memory: int | None = None
    pci: str = ""


class File(NamedTuple):
    """A file of the service: never one that holds a secret. `content` None: it shall not exist."""

    path: str
    content: str | None
    mode: int = 0o644


@dataclass(frozen=True)
class Key:
    """The API key's file on the node, the service's user's (0600). `given`: a key somebody chose; empty: one is made.

    path: empty for an engine that knows no key; such a one answers on loopback alone.

    variable: also keep `<path>.env` (0600, root) with `<variable>=<key>`, for programs that read it from their
    environment alone, such as a container's `--env-file`.
    """

    path: str
    given: str = field(default="", repr=False)
    variable: str = ""


@dataclass(frozen=True)
class Probe:
    """When the service counts as ready and as healthy. Becomes the health program's configuration (no secret in it).

    kind: how to ask for busy and loaded: `llama.cpp`, `lmstudio`, `vllm`, `lmdeploy`, `ollama`, `openai`, `comfyui`,
        `ray` (a node that lends its cards to a vLLM elsewhere).
    expected_vram: bytes the model's weights take, together on all cards; 0: the VRAM is not looked at.
    device: a word the device's name must contain (`VEGA20`, `gfx906`); empty: any.
    devices: patterns by which `devices_of` finds devices in the service's log; empty: the engine tells otherwise.
    floor: tokens a second below which the answer counts as the CPU's; 0: none.
    software: a software device (llvmpipe, the CPU) is allowed, by the user's word.
    load_timeout: from the start of the unit to the first answer. answer_timeout: for one completion.
    live_timeout: for the cheap question whether the server is alive. interval: between two looks of the timer.
    completion_every: a whole completion this often, when the server is idle; 0: never.
    """

    kind: str
    url: str
    model: str
    expected_vram: int = 0
    device: str = "VEGA20"
    floor: float = 0.0
    software: bool = False
    load_timeout: float = 900.0
    answer_timeout: float = 120.0
    live_timeout: float = 10.0
    interval: int = 30
    completion_every: int = 600


class Rehearsal(NamedTuple):
    """What a version has to do before the service is switched to it.

    checks: (what it is, command): each has to end with 0, in the service's own sandbox, while the old version serves.
    start: the command that serves on 127.0.0.1, at a port that takes the place of `{port}`, for one completion; it
    has the cards for itself meanwhile.
    """

    checks: tuple[tuple[str, tuple[str, ...]], ...]
    start: tuple[str, ...]


@dataclass(frozen=True)
class Service:
    """One engine on one node.

    start, before, after, stop: commands (argv) of the unit, nothing in them is expanded. No secret may stand in them
    (the key's path may). environment: the same.
    read: paths that the sandbox would hide from the service (homes, temporary folders); they are bound read-only.
    write: directories of the service, made by systemd as its user: names below /var/lib and /var/cache.
    properties: further lines of [Service] (key, value); a key of the contract's own is replaced by them.
    unit: further lines of [Unit]. needs: (path, bytes) that must be free before anything changes.
    watched: files whose change (size, time) means that the service must be proven again: the model.
    facts: what the status shows: version, model, context.
    rehearsal: how it is tried before the switch; None: the switch itself is the trial, with the way back.
    """

    name: str
    description: str
    user: str
    bind: str
    port: int
    key: Key
    probe: Probe
    start: tuple[str, ...]
    groups: tuple[str, ...] = ("render", "video")
    gpus: tuple[Gpu, ...] = ()
    devices: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    stop: tuple[tuple[str, ...], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    unit: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    needs: tuple[tuple[str, int], ...] = ()
    watched: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: Rehearsal | None = None

    @property
    def unit_name(self) -> str:
        """`mi50-<role>.service`."""
        return UNIT.format(self.name)


class Definition(NamedTuple):
    """What an engine makes of its options: the service (None when it cannot be made) and everything that is wrong.

    `warnings` change nothing. All problems are told at once, before anything changes.
    """

    service: Service | None
    problems: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class Common:
    """Options that every engine has, as `llm_service` takes them. `gpus` are the chosen cards."""

    name: str
    user: str
    bind: str
    port: int
    key: Key
    gpus: tuple[Gpu, ...]
    floor: float
    software: bool
    small_bar: bool
    load_timeout: float
    answer_timeout: float
    interval: int
    live_timeout: float
    completion_every: int


class Proof(NamedTuple):
    """How a service showed that it answers on the GPU."""

    seconds: float  # from the start of the unit
    tokens: int
    tokens_per_second: float
    vram_before: int
    vram_after: int
    devices: tuple[Device, ...]
    answer: str


class Engine(Protocol):
    """A module of this package that knows one engine; registered in `engines.ENGINES`."""

    # Options of llm_service.options, as an Ansible argument spec.
    SPEC: dict[str, dict[str, Any]]
    # Whether the cards are reached through Vulkan, which offers what the CPU can see of their VRAM.
    VULKAN: bool
    # Patterns in the log of a service that does not come up, and what to do about it.
    HINTS: tuple[tuple[str, str], ...]

    def define(self, common: Common, options: Mapping[str, Any], node: Node) -> Definition:
        """Turn valid options into a service. Reads the node, changes nothing, raises nothing: problems are told."""

    def pending(self, service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
        """What `install` would put in place, a line each; empty when all is there."""

    def install(self, service: Service, options: Mapping[str, Any], node: Node) -> None:
        """Put program files in place, beside those in use. The service's user exists. Raises ServeError."""

    def devices_before(self, service: Service, node: Node) -> list[Device] | None:
        """What the engine would compute on, asked while the old version still serves; None: it cannot be asked."""

    def devices_of(self, log: str, service_name: str, node: Node) -> list[Device] | None:
        """What it computes on, from the log of its current run; None: the log does not tell."""

    def prune(self, service: Service, node: Node, keep: Sequence[str]) -> None:
        """Remove program files that neither this version nor the paths in `keep` (the one before) need."""

    def remove(self, name: str, node: Node) -> list[str]:
        """Remove all program files and data of the engine; models stay. Returns what was removed."""
