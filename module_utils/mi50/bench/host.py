"""The node as a record wants it: machine, GPU, the server's process, and what the kernel said meanwhile."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..amdgpu import inventory, sensors
from ..apt import dpkg

# Variables of a server's environment that change its speed; names with a secret in them never match.
_ENV = re.compile(
    r"^(HSA|HIP|ROCR|ROC|GGML|LLAMA_ARG|VLLM|OMP|GPU|VK|RADV|MESA|AMD|TORCH|PYTORCH|TRITON|OLLAMA|LMDEPLOY)_[A-Z0-9_]+$"
)
_SECRET = re.compile(r"key|token|secret|password|passwd|auth|credential", re.IGNORECASE)
_BACKENDS = (
    ("libvulkan_radeon.so", "vulkan (radv)"),
    ("libvulkan_lvp.so", "vulkan (llvmpipe, software)"),
    ("amdvlk", "vulkan (amdvlk)"),
    ("libggml-vulkan", "vulkan"),
    ("libamdhip64.so", "rocm"),
    ("libggml-hip", "rocm"),
    ("libcuda.so", "cuda"),
)
_RESETS = re.compile(r"GPU reset|ring \S+ timeout|device lost|amdgpu: .*fatal error", re.IGNORECASE)
_KILLS = re.compile(r"Out of memory: Killed|oom-kill|Memory cgroup out of memory", re.IGNORECASE)
_LISTEN = "0A"


@dataclass(frozen=True)
class Roots:
    """Where the host's file systems are."""

    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    root: Path = Path("/")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _field(text: str | None, name: str, separator: str) -> str | None:
    for line in (text or "").splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip().strip('"')
    return None


def boot_id(roots: Roots) -> str | None:
    """Return the id of this boot: another one means the node went down in between."""
    return _text(roots.proc / "sys/kernel/random/boot_id")


def node(roots: Roots, name: str | None) -> dict[str, Any]:
    """Return the node's record; what cannot be read is None."""
    machine = _text(roots.root / "etc/machine-id")
    memory = _field(_text(roots.proc / "meminfo"), "MemTotal", ":")
    load = _text(roots.proc / "loadavg")
    return {
        "inventory_name": name or socket.gethostname(),
        "machine_id_hash": hashlib.sha256(machine.encode()).hexdigest()[:16] if machine else None,
        "cpu": _field(_text(roots.proc / "cpuinfo"), "model name", ":"),
        "cpus": os.cpu_count(),
        "governor": _text(roots.sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "kernel": _text(roots.proc / "sys/kernel/osrelease"),
        "os": _field(_text(roots.root / "etc/os-release"), "PRETTY_NAME", "="),
        "boot_id": boot_id(roots),
        "container": (roots.root / "run/systemd/container").exists() or (roots.root / ".dockerenv").exists(),
        "memory_bytes": int(memory.split()[0]) * 1024 if memory else None,
        "load1": float(load.split()[0]) if load else None,
    }


def clock_sync(roots: Roots) -> str | None:
    """Return whether systemd-timesyncd has set the clock, None where it does not say. Only dates depend on it."""
    return "yes" if (roots.root / "run/systemd/timesync/synchronized").exists() else None


def find_gpu(roots: Roots, wanted: str | None) -> tuple[dict[str, Any] | None, Path | None]:
    """Return the GPU's record and its device directory. Raises ValueError when the choice is not clear."""
    if wanted == "none":
        return None, None
    found = inventory.collect(roots.sysfs, roots.proc, roots.dev)
    by_address = {gpu["pci_address"]: gpu for gpu in found["gpus"]}
    if wanted is None:
        if not found["gfx906"]:
            return None, None
        if len(found["gfx906"]) > 1:
            raise ValueError(f"several gfx906 cards ({', '.join(found['gfx906'])}): name one in `gpu`")
        wanted = found["gfx906"][0]
    if wanted not in by_address:
        raise ValueError(f"no AMD GPU at {wanted}; there are {', '.join(by_address) or 'none'}")
    gpu = by_address[wanted]
    device = roots.sysfs / "bus/pci/devices" / wanted
    packages = dpkg.read_status(roots.root) if (roots.root / "var/lib/dpkg/status").exists() else {}
    mesa = packages.get("mesa-vulkan-drivers")
    module = found["module"]
    return {
        "bdf": wanted,
        "name": gpu["product"],
        "gfx": gpu["gfx_target"],
        "vbios": gpu["vbios"],
        "unique_id": gpu["unique_id"],
        "vram_total": gpu["vram_total"],
        "power_cap_w": gpu["power_cap"]["current"],
        "sclk_max_mhz": _clock_max(device / "pp_dpm_sclk"),
        "mclk_max_mhz": _clock_max(device / "pp_dpm_mclk"),
        "driver": module["version"] or (_text(roots.proc / "sys/kernel/osrelease") if module["loaded"] else None),
        "rocm": _text(roots.root / "opt/rocm/.info/version"),
        "mesa": mesa.version if mesa and mesa.state == "installed" else None,
        "vulkan": None,
        "ras": ras(device),
    }, device


def ras(device: Path | None) -> dict[str, Any] | None:
    """Return the card's memory error counters by block."""
    if device is None:
        return None
    counts = sensors.read_ras(device, [])
    return {block: dict(count) for block, count in counts.items()} if counts else None


def new_errors(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, kind: str) -> int:
    """Return how many errors of a kind (correctable, uncorrectable) were counted between two readings."""
    total = 0
    for block, count in (after or {}).items():
        total += max(0, (count.get(kind) or 0) - ((before or {}).get(block, {}).get(kind) or 0))
    return total


def _clock_max(path: Path) -> int | None:
    clocks = re.findall(r":\s*(\d+)\s*Mhz", _text(path) or "", re.IGNORECASE)
    return max(map(int, clocks)) if clocks else None


@dataclass(frozen=True)
class Process:
    """A process, told from a later one with the same id by its start time (clock ticks after boot)."""

    pid: int
    started: int


def process(roots: Roots, pid: int) -> Process | None:
    """Return the process of an id, None when it is gone."""
    stat = _text(roots.proc / str(pid) / "stat")
    if not stat:
        return None
    fields = stat.rpartition(")")[2].split()
    return Process(pid, int(fields[19])) if len(fields) > 19 and fields[0] not in "ZX" else None


def listener(roots: Roots, port: int) -> int | None:
    """Return the id of the process that listens on a port of this host; None when it cannot be told (no rights)."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in (_text(roots.proc / "net" / name) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for directory in sorted(roots.proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if any(str(link.readlink()) in inodes for link in (directory / "fd").iterdir()):
                return int(directory.name)
        except OSError:
            continue
    return None


def command_line(roots: Roots, pid: int | None) -> list[str] | None:
    """Return a process's arguments; what follows a key or token option is hidden."""
    text = _text(roots.proc / str(pid) / "cmdline") if pid else None
    if not text:
        return None
    shown: list[str] = []
    hide = False
    for word in text.rstrip("\0").split("\0"):
        name, equals, _value = word.partition("=")
        secret = word.startswith("-") and bool(_SECRET.search(name)) and not name.endswith("-file")
        shown.append("(hidden)" if hide else f"{name}=(hidden)" if secret and equals else word)
        hide = secret and not equals and "tokenizer" not in name
    return shown


def environment(roots: Roots, pid: int | None) -> dict[str, str]:
    """Return those of a process's variables that matter for speed."""
    text = _text(roots.proc / str(pid) / "environ") if pid else None
    pairs = (entry.partition("=") for entry in (text or "").split("\0"))
    return {name: value for name, _equals, value in pairs if _ENV.match(name) and not _SECRET.search(name)}


def backend(roots: Roots, pid: int | None) -> str | None:
    """Return the compute library that a server has loaded, `cpu` where none is; None when it cannot be seen."""
    maps = _text(roots.proc / str(pid) / "maps") if pid else None
    if not maps:
        return None
    words = command_line(roots, pid) or []
    chosen = [after for option, after in zip(words, words[1:]) if option in ("-dev", "--device")]
    if "none" in chosen:  # llama.cpp loads every backend it finds, whether or not it may use it
        return "cpu"
    return next((name for library, name in _BACKENDS if library in maps), "cpu")


class KernelLog:
    """Follows /dev/kmsg from now on."""

    def __init__(self, path: Path = Path("/dev/kmsg")) -> None:
        """Start behind the last message; without the right to read it nothing is ever found."""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            self.close()

    def news(self) -> tuple[list[str], list[str]]:
        """Return the lines about GPU resets and those about killed processes since the last call."""
        text = ""
        while self._descriptor is not None:
            try:
                piece = os.read(self._descriptor, 65536)
            except BrokenPipeError:
                continue  # messages were overwritten; the next read goes on behind the gap
            except OSError:
                break
            if not piece:
                break
            text += piece.decode("utf-8", "replace")
        lines = [line.partition(";")[2] or line for line in text.splitlines()]
        return [line for line in lines if _RESETS.search(line)], [line for line in lines if _KILLS.search(line)]

    def close(self) -> None:
        """Close the log."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def client() -> dict[str, Any]:
    """Return what measures."""
    return {"lib": "mi50.bench", "version": "1", "python": platform.python_version(), "calibration": None}


def peak_rss_mib() -> float | None:
    """Return this program's greatest resident size in MiB.

    Not getrusage's: that begins with the size of the process that forked this one, and an exec does not reset it.
    """
    size = _field(_text(Path("/proc/self/status")), "VmHWM", ":")
    return int(size.split()[0]) / 1024 if size else None
