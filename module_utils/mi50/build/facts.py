"""What a build needs to know of this node: what its binaries must fit, and what it can spare for building them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from ..process import run

MIB = 1 << 20
_ASK = "import sysconfig; print(sysconfig.get_config_var('SOABI') or '')"


class FactsError(Exception):
    """Something a build needs is not there; the text is meant for the user."""


def compatibility(python: str, root: Path = Path("/")) -> dict[str, str]:
    """Return the host's parts of the key: `os`, `glibc`, `python`, `machine`. Raises FactsError.

    `python` is the interpreter the artifact is for; its ABI tag counts, not its patch release.
    """
    release = os_release(root)
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    return {
        "os": f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip(),
        "glibc": libc.replace("glibc ", "") or "none",
        "python": _abi(python),
        "machine": platform.machine(),
    }


def capacity(work: Path, root: Path = Path("/")) -> dict[str, int]:
    """Return `cores`, `memory_mib` (available now) and `disk_mib` (free where builds are made)."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": _available(root),
        "disk_mib": shutil.disk_usage(_existing(work)).free // MIB,
    }


def boot_id(root: Path = Path("/")) -> str:
    """Return the kernel's id of this boot."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """Return os-release as a dictionary; empty when there is none."""
    try:
        lines = (root / "etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("\"'") for name, dummy, value in pairs}


def _abi(python: str) -> str:
    """The ABI of an interpreter: `cpython-311-x86_64-linux-gnu`. This one's is known without asking."""
    if Path(python).resolve() == Path(sys.executable).resolve():
        return str(sysconfig.get_config_var("SOABI") or "")
    try:
        done = run([python, "-Ic", _ASK], timeout=20.0)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FactsError(f"{python} cannot be asked for its version: {exc}") from exc
    if done.code != 0:
        raise FactsError(f"{python} cannot be asked for its version: {done.errors.decode(errors='replace')[-300:]}")
    return done.output.decode().strip()


def _available(root: Path) -> int:
    """MemAvailable of the kernel, in MiB."""
    found = 0
    for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            found = int(line.split()[1]) // 1024
    return found


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def info() -> dict[str, Any]:
    """Return names that make a builder recognisable in a manifest."""
    return {"hostname": platform.node(), "kernel": platform.release()}
