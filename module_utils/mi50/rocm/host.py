"""What a node says about itself, read from files below a root: no command is run here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .driver import Kernel

AMD = "0x1002"
# PCI base classes of GPUs: display controllers, and processing accelerators.
GPU_CLASSES = ("0x03", "0x12")


@dataclass(frozen=True)
class Roots:
    """Where to look. `root` holds etc, var, lib, boot, run; the others are the machine's trees of that name."""

    root: Path = Path("/")
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def os_release(roots: Roots) -> dict[str, str]:
    """id, version and codename; empty strings when unknown."""
    fields = {}
    for line in (_text(roots.root / "etc/os-release") or "").splitlines():
        name, _equals, value = line.partition("=")
        fields[name] = value.strip().strip("\"'")
    return {
        "id": fields.get("ID", ""),
        "version": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
    }


def in_container(roots: Roots) -> bool:
    """Whether systemd was started as a container's init (Docker with systemd, LXC, nspawn)."""
    return (roots.root / "run/systemd/container").exists()


def kernel_release(roots: Roots) -> str:
    """As uname -r."""
    return _text(roots.proc / "sys/kernel/osrelease") or os.uname().release


def secure_boot(roots: Roots) -> bool:
    """The EFI variable: four bytes of attributes, then 1 when Secure Boot is enforced."""
    for path in (roots.sys / "firmware/efi/efivars").glob("SecureBoot-*"):
        try:
            return path.read_bytes()[4:5] == b"\x01"
        except OSError:
            return False
    return False


def amdgpu_module(roots: Roots, release: str) -> str | None:
    """Which amdgpu module file modprobe would take; depmod prefers updates/ over kernel/."""
    modules = roots.root / "lib/modules" / release
    if list(modules.glob("updates/dkms/amdgpu.ko*")):
        return "dkms"
    if list(modules.glob("kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*")):
        return "inbox"
    return None


def firmware(roots: Roots) -> bool:
    """Whether Vega 20's firmware is there; Debian keeps it in non-free-firmware."""
    return any((roots.root / "lib/firmware/amdgpu").glob("vega20_*.bin*"))


def gpus(roots: Roots) -> int:
    """How many AMD GPUs are on the PCI bus."""
    found = 0
    for device in sorted((roots.sys / "bus/pci/devices").glob("*")):
        kind = _text(device / "class") or ""
        found += _text(device / "vendor") == AMD and kind.startswith(GPU_CLASSES)
    return found


def rocm_version(roots: Roots, version: str) -> str | None:
    """The text of /opt/rocm-<version>/.info/version, such as 6.4.3-128."""
    return _text(roots.root / f"opt/rocm-{version}/.info/version")


def stale_links(roots: Roots) -> list[str]:
    """Releases that update-alternatives still offers as /opt/rocm although they are gone.

    A package that is replaced by another version of itself, as in a change of the stack, does not take its entry back.
    """
    entries = (_text(roots.root / "var/lib/dpkg/alternatives/rocm") or "").splitlines()
    offered = [line for line in entries if line.startswith("/opt/rocm-")]
    return [path for path in offered if not (roots.root / path[1:] / ".info/version").exists()]


def groups_of(roots: Roots, users: list[str], groups: list[str]) -> dict[str, list[str]]:
    """For each of `users` the groups of `groups` it lacks; a user that does not exist lacks them all."""
    members: dict[str, set[str]] = {}
    numbers: dict[str, str] = {}
    for line in (_text(roots.root / "etc/group") or "").splitlines():
        name, _password, number, names = [*line.split(":"), "", "", ""][:4]
        members[name], numbers[name] = {item for item in names.split(",") if item}, number
    primary = {}
    for line in (_text(roots.root / "etc/passwd") or "").splitlines():
        name, _password, _uid, number = [*line.split(":"), "", "", ""][:4]
        primary[name] = number
    return {
        user: [
            name
            for name in groups
            if user not in members.get(name, set()) and primary.get(user) != numbers.get(name, "-")
        ]
        for user in users
    }


def group_exists(roots: Roots, name: str) -> bool:
    """Whether /etc/group has it."""
    return any(line.startswith(f"{name}:") for line in (_text(roots.root / "etc/group") or "").splitlines())


def user_exists(roots: Roots, name: str) -> bool:
    """Whether /etc/passwd has it."""
    return any(line.startswith(f"{name}:") for line in (_text(roots.root / "etc/passwd") or "").splitlines())


def reboot_reasons(roots: Roots, kernel: Kernel) -> list[str]:
    """Why the node must be rebooted before the GPUs are of use; empty when it need not be."""
    reasons = []
    required = roots.root / "run/reboot-required"
    if required.exists():
        packages = " ".join(dict.fromkeys((_text(roots.root / "run/reboot-required.pkgs") or "").split()))
        reasons.append(f"the distribution asks for it (/run/reboot-required{f': {packages}' if packages else ''})")
    loaded = roots.sys / "module/amdgpu"
    count = gpus(roots)
    # In a container a missing /dev/kfd was not passed in; no reboot helps.
    if count and not kernel.container and kernel.amdgpu and not (roots.dev / "kfd").exists():
        reasons.append(
            f"{count} AMD GPU(s) but no {roots.dev / 'kfd'}: amdgpu was not loaded after the driver was installed"
        )
    # Only AMD's DKMS module has a version; the kernel's own has none.
    elif not kernel.container and kernel.amdgpu == "dkms" and loaded.is_dir() and not (loaded / "version").exists():
        reasons.append("AMD's DKMS module is built, but the kernel's own amdgpu is loaded")
    elif not kernel.container and kernel.amdgpu == "inbox" and (loaded / "version").exists():
        reasons.append("AMD's DKMS module was removed, but is still loaded")
    newer = _newer_kernel(roots, kernel)
    if newer:
        reasons.append(newer)
    return reasons


def _newer_kernel(roots: Roots, kernel: Kernel) -> str | None:
    if kernel.container:
        return None
    if not (roots.root / "lib/modules" / kernel.release).is_dir():
        return f"the running kernel {kernel.release} was removed: its modules are gone"
    booted = next(
        (int(line.split()[1]) for line in (_text(roots.proc / "stat") or "").splitlines() if line.startswith("btime ")),
        None,
    )
    for link in (roots.root / "boot/vmlinuz", roots.root / "vmlinuz"):
        if link.is_symlink() and link.exists():
            target = link.resolve()
            release = target.name.partition("-")[2]
            # A kernel older than this boot was passed over on purpose. Not mtime: dpkg keeps the package's.
            if release != kernel.release and booted is not None and target.stat().st_ctime > booted:
                return f"kernel {release} was installed, {kernel.release} is running"
            return None
    return None
