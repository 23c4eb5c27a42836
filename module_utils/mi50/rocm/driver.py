"""Which kernel driver a node shall run: the kernel's own amdgpu, AMD's DKMS build, or none of our business."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class PlatformError(ValueError):
    """The operating system, kernel or driver choice cannot take the stack; the text says why and what to do."""


@dataclass(frozen=True)
class Kernel:
    """What is known of the running kernel.

    `amdgpu` is `inbox`, `dkms` or None: which module file depmod would load. `headers` and `extra` are `installed`,
    `available` or `missing`: linux-headers-<release> and linux-modules-extra-<release>.
    """

    release: str
    container: bool = False
    secure_boot: bool = False
    amdgpu: str | None = None
    headers: str = "missing"
    extra: str = "missing"
    firmware: bool = True


@dataclass(frozen=True)
class Decision:
    """`mode` is inbox, dkms or host (a container: the driver belongs to the machine around it)."""

    mode: str
    reason: str
    packages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def series(release: str) -> str:
    """`6.8.0-87-generic` -> `6.8`."""
    found = re.match(r"\d+\.\d+", release)
    return found.group() if found else release


def find_platform(os_id: str, version: str, platforms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the stack's row of this operating system.

    Raises PlatformError naming the supported ones when there is none.
    """
    for row in platforms:
        if row["id"] == os_id and str(row["version"]) == version:
            return row
    known = ", ".join(f"{row['id']} {row['version']}" for row in platforms)
    raise PlatformError(
        f"{os_id} {version} is not supported by this stack (supported: {known}). Install one of these, or "
        f"choose another mi50_stack."
    )


def _inbox(kernel: Kernel, os_id: str, reason: str) -> Decision:
    packages: list[str] = []
    warnings: list[str] = []
    if os_id == "ubuntu" and kernel.extra == "available" and kernel.amdgpu is None:
        packages.append(f"linux-modules-extra-{kernel.release}")
    elif kernel.amdgpu is None:
        warnings.append(
            f"kernel {kernel.release} has no amdgpu module and no package that brings it is on offer: install a "
            f"full kernel "
            "(linux-generic on Ubuntu, linux-image-amd64 rather than -cloud-amd64 on Debian), reboot, run again"
        )
    return Decision("inbox", reason, tuple(packages), tuple(warnings))


def _obstacle(kernel: Kernel, platform: Mapping[str, Any]) -> str | None:
    """Why amdgpu-dkms is not for this kernel, or None."""
    tested = ", ".join(platform["kernels"])
    if series(kernel.release) not in platform["kernels"]:
        return f"kernel {kernel.release} is not in AMD's matrix for {platform['id']} {platform['version']} ({tested})"
    if kernel.headers == "missing":
        return f"linux-headers-{kernel.release} is neither installed nor on offer"
    return None


def decide(requested: str, kernel: Kernel, platform: Mapping[str, Any], dkms_packages: Sequence[str]) -> Decision:
    """Choose the driver.

    `auto` takes DKMS only where AMD tested it with this kernel, its headers are to be had and Secure Boot is off;
    a failed DKMS build leaves dpkg half-configured. Sources: AMD's compatibility matrix (in the stack), and
    ROCm/legacy-rocm-build issues 4619, 5074, 5085. Raises PlatformError for an explicit `dkms` that cannot work.
    """
    if kernel.container:
        if requested == "dkms":
            raise PlatformError(
                "rocm_kernel_driver is dkms, but this node is a container: its kernel belongs to the host. "
                "Install the driver on the host and set rocm_kernel_driver: auto here."
            )
        return Decision("host", f"a container uses its host's kernel {kernel.release} and driver")
    if requested == "inbox":
        return _inbox(kernel, platform["id"], "rocm_kernel_driver is inbox")
    obstacle = _obstacle(kernel, platform)
    headers = () if kernel.headers == "installed" else (f"linux-headers-{kernel.release}",)
    if requested == "dkms":
        if obstacle:
            raise PlatformError(
                f"rocm_kernel_driver is dkms, but {obstacle}: the build would fail and leave dpkg half-configured. "
                f"Set rocm_kernel_driver: inbox, or boot a kernel of {' or '.join(platform['kernels'])} with "
                f"its headers."
            )
        warnings = (
            (
                "Secure Boot is on: the DKMS module loads only after its key was enrolled (mokutil --import, "
                "then a reboot at the console)",
            )
            if kernel.secure_boot
            else ()
        )
        return Decision("dkms", "rocm_kernel_driver is dkms", (*headers, *dkms_packages), warnings)
    if obstacle:
        return _inbox(kernel, platform["id"], obstacle)
    if kernel.secure_boot:
        return _inbox(kernel, platform["id"], "Secure Boot is on, and only the kernel's own module is signed")
    reason = f"kernel {kernel.release} is in AMD's matrix for {platform['id']} {platform['version']}"
    return Decision("dkms", reason, (*headers, *dkms_packages))
