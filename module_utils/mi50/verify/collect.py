"""Read what the checks look at, changing nothing. Root paths and the command runner are parameters."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..amdgpu.inventory import collect as collect_gpus
from ..preflight.collect import read_kernel_log
from ..preflight.model import stumbled
from . import depends
from .model import Card, Crash, Listener, Seen, Setting

T = TypeVar("T")
# Runs a command; returns its exit code and standard output. A missing program is (127, "").
Runner = Callable[[list[str]], tuple[int, str]]

# Where variables are set for everybody: login shells, services, sessions.
_ENVIRONMENT = ("etc/environment", "etc/environment.d/*.conf", "etc/profile.d/*.sh", "etc/mi50-aipc/*.env")
_ENVIRONMENT_OF_UNITS = ("etc/systemd/system.conf", "etc/systemd/system.conf.d/*.conf", "etc/systemd/system/*.d/*.conf")
_ASSIGNMENT = re.compile(
    r"\b((?:HSA|HIP|ROCR|ROCM|GPU|CUDA|AMD|HCC|TORCH|GGML|MESA)_[A-Z0-9_]+)=(\"[^\"]*\"|'[^']*'|[^\s;]+)"
)
_AGENT = re.compile(r"^\s*Name:\s+(gfx[0-9a-f]+)\b", re.MULTILINE)
_SENSORS = ("edge", "junction", "mem")  # temp1, temp2, temp3 of amdgpu
_LISTEN = "0A"


class Roots(NamedTuple):
    """Where to look. `root` stands for / in everything that is not sysfs, proc or dev."""

    root: Path = Path("/")
    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


class _Reader:
    """Calls readers one by one; what one of them stumbles over costs its own part alone."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    def __call__(self, names: str, look: Callable[[], T], without: T) -> T:
        """Return what `look` returns; when it crashes, `without`, and the fields `names` count as unread."""
        try:
            return look()
        except Exception as error:  # a file that no kernel ever wrote so: the other checks still count
            self.unread.update(dict.fromkeys(names.split(), stumbled(error)))
            return without


def collect(roots: Roots, version: str, answers: Mapping[str, Mapping[str, Any] | str | Crash], run: Runner) -> Seen:
    """Return the state of a node that is to have ROCm `version`."""
    read = _Reader()
    prefix = f"/opt/rocm-{version}"
    nothing: dict[str, Any] = {"gfx906": [], "kfd": False, "gpus": []}
    inventory: dict[str, Any] = read(
        "gfx906 kfd_device cards", lambda: dict(collect_gpus(roots.sysfs, roots.proc, roots.dev)), nothing
    )
    ours = [gpu for gpu in inventory["gpus"] if gpu["pci_address"] in inventory["gfx906"]]
    unasked: tuple[tuple[str, ...] | None, str] = (None, "")
    agents, error = read(
        "agents agents_error", lambda: read_agents(roots.root / prefix[1:] / "bin/rocminfo", run), unasked
    )
    return Seen(
        gfx906=tuple(inventory["gfx906"]),
        kfd_device=bool(inventory["kfd"]),
        cards=read("cards", lambda: tuple(read_card(gpu) for gpu in ours), ()),
        kernel_log=read("kernel_log", lambda: read_kernel_log(roots.dev), None),
        cmdline=_text(roots.proc / "cmdline") or "",
        settings=read("settings", lambda: tuple(read_settings(roots.root)), ()),
        prefix=prefix,
        link=read("link", lambda: _link(roots.root / "opt/rocm", roots.root), None),
        loader_dirs=read("loader_dirs", lambda: tuple(read_loader(roots.root)), ()),
        agents=agents,
        agents_error=error,
        listeners=read("listeners", lambda: read_listeners(roots.proc), None),
        unmet=read("unmet", lambda: _tuple(depends.unmet(roots.root)), None),
        answers=answers,
        unread=read.unread,
    )


def _tuple(lines: list[str] | None) -> tuple[str, ...] | None:
    return None if lines is None else tuple(lines)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path, scale: float = 1.0) -> float | None:
    try:
        return int(_text(path) or "") / scale
    except ValueError:
        return None


def _link(path: Path, root: Path) -> str | None:
    """Where a link ends, as the node names it, through /etc/alternatives; None for what is no link or leads nowhere."""
    for _step in range(8):
        if not path.is_symlink():
            return f"/{path.relative_to(root)}" if path.exists() else None
        target = Path(path.readlink())
        path = root / str(target)[1:] if target.is_absolute() else path.parent / target
    return None


def read_card(gpu: Mapping[str, Any]) -> Card:
    """Return the live values of a card of amdgpu_info's list."""
    hwmon = Path(gpu["hwmon"]) if gpu.get("hwmon") else None
    readings: dict[str, float | None] = dict.fromkeys(_SENSORS)
    limits: dict[str, float | None] = dict.fromkeys(_SENSORS)
    if hwmon:
        for number, name in enumerate(_SENSORS, start=1):
            label = _text(hwmon / f"temp{number}_label") or name
            readings[label] = _number(hwmon / f"temp{number}_input", 1000)
            limits[label] = _number(hwmon / f"temp{number}_crit", 1000)
    used = _number(hwmon / "device/mem_info_vram_used") if hwmon else None
    errors = [one["uncorrectable"] for one in (gpu.get("ras") or {}).values() if one["uncorrectable"] is not None]
    return Card(
        str(gpu["pci_address"]), readings, limits, sum(errors) if errors else None, None if used is None else int(used)
    )


def read_settings(root: Path) -> Iterator[Setting]:
    """Yield every variable of ROCm, torch and Vulkan that a file of the system sets for others."""
    for pattern in (*_ENVIRONMENT, *_ENVIRONMENT_OF_UNITS):
        for path in sorted(root.glob(pattern)):
            for line in (_text(path) or "").splitlines():
                if line.lstrip().startswith(("#", ";")):
                    continue
                for name, value in _ASSIGNMENT.findall(line):
                    yield Setting(f"/{path.relative_to(root)}", name, value.strip("\"'"))


def read_loader(root: Path) -> Iterator[str]:
    """Yield the directories that the files of /etc/ld.so.conf.d name."""
    for path in sorted(root.glob("etc/ld.so.conf.d/*.conf")):
        yield from (line for line in (_text(path) or "").splitlines() if line.startswith("/"))


def read_agents(program: Path, run: Runner) -> tuple[tuple[str, ...] | None, str]:
    """Return the GPU targets that rocminfo lists, or None and why."""
    if not program.exists():
        return None, f"{program} is not there"
    code, text = run([str(program)])
    if code:
        return None, f"{program.name} ends with {code}: {' '.join(text.split())[-160:]}"
    return tuple(_AGENT.findall(text)), ""


def read_listeners(proc: Path) -> tuple[Listener, ...] | None:
    """Return the TCP sockets that accept connections, None where the kernel does not show them.

    From proc_net_tcp(5): an address is written as words in the machine's own order.
    """
    texts = [_text(proc / name) for name in ("net/tcp", "net/tcp6")]
    if texts[0] is None:
        return None
    rows = [line.split() for text in texts for line in (text or "").splitlines()[1:]]
    return tuple(_listeners(rows))


def _listeners(rows: Iterable[list[str]]) -> Iterator[Listener]:
    for row in rows:
        if len(row) < 4 or row[3] != _LISTEN:
            continue
        address, _colon, port = row[1].partition(":")
        words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
        packed = b"".join(struct.pack("=I", word) for word in words)
        yield Listener(str(ipaddress.ip_address(packed)), int(port, 16))
