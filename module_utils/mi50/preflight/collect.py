"""Read what the checks look at from a host, changing nothing. Root paths and the command runner are parameters."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..amdgpu.inventory import collect as collect_gpus
from ..apt.dpkg import unfinished
from .model import Disk, HostState, RepositoryTarget, Target
from .network import TIMEOUT_S, probe_all
from .proxy import ProxySettings, find_apt_file, mentions_proxy, parse_apt_dump, read_environment_file
from .repository import look

# Runs a command given as a list; returns (return code, standard output). A missing program is (127, "").
Runner = Callable[[list[str]], tuple[int, str]]

FAN_UNITS = ("fancontrol.service", "thinkfan.service", "fan2go.service", "coolercontrold.service")
# Where systemd finds units, generated and transient ones included: systemd.unit(5).
_UNIT_DIRS = (
    *(f"{parent}/systemd/system" for parent in ("etc", "run", "usr/local/lib", "usr/lib", "lib")),
    *(f"run/systemd/{name}" for name in ("transient", "generator", "generator.early", "generator.late")),
)
_SECURE_BOOT = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_MODPROBE_DIRS = (
    "etc/modprobe.d",
    "run/modprobe.d",
    "usr/local/lib/modprobe.d",
    "usr/lib/modprobe.d",
    "lib/modprobe.d",
)
_BLACKLIST = re.compile(r"^\s*(blacklist\s+amdgpu\s*(#.*)?$|install\s+amdgpu\s+\S*/(false|true))")


@dataclass(frozen=True)
class Options:
    """Where and for what to look. `root` stands for / in everything that is not sysfs, proc or dev."""

    root: Path = Path("/")
    sysfs_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    dev_root: Path = Path("/dev")
    disk_paths: tuple[str, ...] = ()
    rocm_version: str = ""
    controller_time: float | None = None
    proxies: dict[str, str] = field(default_factory=dict)
    no_proxy: str = ""
    timeout: float = TIMEOUT_S


def collect(
    options: Options,
    targets: Callable[[str, str], list[Target]],
    run: Runner,
    repository: Callable[[str, str], RepositoryTarget | None] | None = None,
) -> HostState:
    """Return the state of the host.

    `targets` gives the addresses to probe for an os-release ID and VERSION_ID, `repository` the apt repository used.
    """
    release = read_os_release(options.root)
    os_id, os_version = release.get("ID", ""), release.get("VERSION_ID", "")
    inventory: Any = collect_gpus(options.sysfs_root, options.proc_root, options.dev_root)
    broken, interrupted = unfinished(options.root)
    proxies = read_proxies(options, run)
    probes = tuple(probe_all(targets(os_id, os_version), proxies, options.timeout))
    offset = None if options.controller_time is None else time.time() - options.controller_time
    return HostState(
        os_id=os_id,
        os_version=os_version,
        os_name=release.get("PRETTY_NAME", ""),
        arch=platform.machine(),
        kernel=_text(options.proc_root / "sys/kernel/osrelease") or platform.release(),
        cmdline=_text(options.proc_root / "cmdline") or "",
        amdgpu_loaded=inventory["module"]["loaded"] or any(g["driver"] == "amdgpu" for g in inventory["gpus"]),
        amdgpu_blacklist=tuple(read_blacklist(options.root)),
        dpkg_broken=broken,
        dpkg_interrupted=interrupted,
        dpkg_cut=read_cut(options.root, broken) if broken or interrupted else "",
        disks=tuple(read_disks(options.root, options.disk_paths)),
        rocm_installed=bool(options.rocm_version) and (options.root / f"opt/rocm-{options.rocm_version}/bin").is_dir(),
        gpus=tuple(inventory["gpus"]),
        gfx906=tuple(inventory["gfx906"]),
        kernel_log=read_kernel_log(options.dev_root),
        secure_boot=read_secure_boot(options.sysfs_root),
        fan_daemons=read_fan_daemons(options.root, run),
        python_apt=(options.root / "usr/lib/python3/dist-packages/apt/__init__.py").is_file(),
        clock_offset=offset,
        probes=probes,
        repository=look(repository(os_id, os_version), probes, proxies, options.root, run) if repository else None,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_os_release(root: Path) -> dict[str, str]:
    """Return the assignments of os-release; empty when there is none."""
    text = _text(root / "etc/os-release") or _text(root / "usr/lib/os-release") or ""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _equals, value in pairs}


def read_cut(root: Path, broken: Mapping[str, str]) -> str:
    """Return which transaction of apt was cut off in a run of ours, empty when it is nobody's or somebody else's."""
    # Of a hundred nodes one has packages that are not whole, and each would compile what is imported above.
    from ..apt import cut  # noqa: PLC0415
    from ..record import journal  # noqa: PLC0415

    found = cut.find(root, journal.read(root / journal.PATH), broken)
    return found.describe() if found else ""


def read_blacklist(root: Path) -> Iterable[str]:
    """Yield `file: line` for every modprobe line that keeps amdgpu out."""
    seen = set()
    for folder in _MODPROBE_DIRS:
        for path in sorted((root / folder).glob("*.conf")):
            if path.name in seen:  # the first folder wins, as in modprobe.d(5); /lib may be the same as /usr/lib
                continue
            seen.add(path.name)
            for line in (_text(path) or "").splitlines():
                if _BLACKLIST.match(line):
                    yield f"/{path.relative_to(root)}: {line.strip()}"


def read_disks(root: Path, paths: Iterable[str]) -> Iterable[Disk]:
    """Yield the file system under each path; a path that does not exist yet counts as its nearest parent."""
    for text in paths:
        path = root / text.lstrip("/")
        while not path.exists() and path != path.parent:
            path = path.parent
        stats = os.statvfs(path)
        inodes = stats.f_favail if stats.f_files else None  # btrfs and others have no inode table
        yield Disk(text, path.stat().st_dev, stats.f_bavail * stats.f_frsize, inodes)


def read_kernel_log(dev_root: Path) -> tuple[str, ...] | None:
    """Return amdgpu and kfd lines of the kernel log, or None when it cannot be read (containers, no privilege)."""
    lines = []
    try:
        handle = os.open(dev_root / "kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        while True:
            try:
                record = os.read(handle, 8192)
            except BrokenPipeError:  # the ring buffer moved on under the reader: go on with what is left
                continue
            except OSError:  # EAGAIN: the end of the log
                break
            if not record:
                break
            text = record.decode("utf-8", "replace")
            lines += [line.partition(";")[2] for line in text.splitlines() if "amdgpu" in line or "kfd" in line]
    finally:
        os.close(handle)
    return tuple(lines)


def read_secure_boot(sysfs_root: Path) -> bool | None:
    """Return the firmware's SecureBoot variable (4 bytes of attributes, then the value), None when there is none."""
    try:
        data = (sysfs_root / _SECURE_BOOT).read_bytes()
    except OSError:
        return None
    return data[-1] == 1 if data else None


def read_fan_daemons(root: Path, run: Runner) -> tuple[str, ...] | None:
    """Return the known fan daemons that are enabled or active, None when systemd does not answer."""
    # Asking systemd costs each node more than ten files that are not there.
    if not any((root / folder / unit).exists() for folder in _UNIT_DIRS for unit in FAN_UNITS):
        return ()
    code, text = run(["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *FAN_UNITS])
    if code:
        return None
    found = []
    for block in text.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("ActiveState") in ("active", "activating") or unit.get("UnitFileState") == "enabled":
            found.append(unit.get("Id", "?"))
    return tuple(found)


def read_proxies(options: Options, run: Runner) -> ProxySettings:
    """Return the proxy settings of the inventory, /etc/environment and apt."""
    apt: dict[str, str] = {}
    if mentions_proxy(options.root):
        code, text = run(["apt-config", "dump", "Acquire"])
        apt = parse_apt_dump(text) if code == 0 else {}
    return ProxySettings(
        variables={scheme: url for scheme, url in options.proxies.items() if url},
        no_proxy=options.no_proxy,
        environment=read_environment_file(options.root / "etc/environment"),
        apt=apt,
        apt_files={key: find_apt_file(value, options.root) for key, value in apt.items()},
    )
