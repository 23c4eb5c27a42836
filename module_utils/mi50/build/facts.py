"""What a build needs to know of this node: what its binaries must fit, and what it can spare for building them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from ..process import run

MIB = 1 << 20
_ASK = "from importlib.machinery import EXTENSION_SUFFIXES as names; print(names[0])"


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
        "machine": os.uname().machine,
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
        return _tag(EXTENSION_SUFFIXES[0])
    try:
        done = run([python, "-Ic", _ASK], timeout=20.0)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FactsError(f"{python} cannot be asked for its version: {exc}") from exc
    if done.code != 0:
        raise FactsError(f"{python} cannot be asked for its version: {done.errors.decode(errors='replace')[-300:]}")
    return _tag(done.output.decode().strip())


def _tag(suffix: str) -> str:
    """`.cpython-311-x86_64-linux-gnu.so` without the dot and the ending; sysconfig would take 10 ms to say the same."""
    return suffix.strip(".").rpartition(".")[0]


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
    return {"hostname": os.uname().nodename, "kernel": os.uname().release}
