"""Checks of the kernel, of ROCm's place on the system and of its environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..preflight.model import FAIL, OK, SKIP, WARN, Check
from .model import Seen

# What amdgpu and kfd say when something is wrong with a card: pattern, what it means, what to do.
_LOG: tuple[tuple[str, str, str], ...] = (
    (
        r"rejects atomics|skipped device",
        "a card was skipped",
        "Use a slot of the processor: PCIe atomics are missing behind chipsets and mining risers",
    ),
    (
        r"probe of .* failed with error -12|failed with error -12",
        "no room for the card's memory (error -12)",
        "Switch Above 4G decoding on in the firmware, or boot with pci=realloc",
    ),
    (
        r"failed with error -22",
        "the VBIOS does not fit the card (error -22)",
        "Compare vbios_version with the card's memory size; docs/hardware.md lists VBIOS versions",
    ),
    (
        r"ring \S+ timeout|GPU reset (begin|failed)|\bring .* stuck",
        "a card hung and was reset",
        "Cooling, power connectors and cap (gpu_power_cap_watts); with two cards or more boot with iommu=pt",
    ),
    (
        r"uncorrectable|poison consumption",
        "uncorrectable memory errors",
        "Memory of this card is failing: lower its clocks or replace it; results cannot be trusted",
    ),
    (
        r"Direct firmware load .* failed|failed to load .*firmware|Fatal error during GPU init",
        "the driver could not start a card",
        "Debian needs firmware-amd-graphics from non-free-firmware; Ubuntu linux-firmware; then reboot",
    ),
)
# Variables that guides ask for and that do harm on a real gfx906 (field reports are named in docs/troubleshooting.md).
_HARMFUL: Mapping[str, str] = {
    "HSA_OVERRIDE_GFX_VERSION": "a real gfx906 needs none, and it forces every GPU of a mixed host",
    "ROCBLAS_TENSILE_LIBPATH": "libraries of one build with kernels of another end in hipErrorInvalidDeviceFunction",
}
_SHOWN = 4
_HIDING = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def check_kfd(seen: Seen) -> Check:
    """The device through which everything computes."""
    if seen.kfd_device:
        return Check("kernel.kfd", "Compute device", OK, "/dev/kfd", "/dev/kfd")
    remedy = "amdgpu is not loaded, or too old: `sudo modprobe amdgpu`, `dmesg | grep -e amdgpu -e kfd`, reboot"
    return Check("kernel.kfd", "Compute device", FAIL, "/dev/kfd is missing", "/dev/kfd", remedy)


def check_log(seen: Seen) -> Check:
    """The kernel has nothing bad to say of a card; the last line that it has counts."""
    title = "Kernel log"
    if seen.kernel_log is None:
        return Check("kernel.log", title, SKIP, "not readable here")
    for line in reversed(seen.kernel_log):
        for pattern, meaning, remedy in _LOG:
            if re.search(pattern, line, re.IGNORECASE):
                return Check(
                    "kernel.log", title, FAIL, f"{meaning}: {line.strip()[:160]}", "nothing of the kind", remedy
                )
    return Check("kernel.log", title, OK, "nothing bad about a card")


def check_iommu(seen: Seen) -> Check:
    """Two cards that talk to each other want the IOMMU in pass-through mode: AMD's install FAQ names the hang."""
    title = "IOMMU"
    if len(seen.gfx906) < 2:
        return Check("kernel.iommu", title, SKIP, "one card")
    words = seen.cmdline.split()
    if any(word in words for word in ("iommu=pt", "amd_iommu=off", "intel_iommu=off")):
        return Check("kernel.iommu", title, OK, "pass-through or off", "iommu=pt")
    remedy = (
        "Jobs on several cards can hang: add iommu=pt to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, "
        "`sudo update-grub`, reboot"
    )
    return Check("kernel.iommu", title, WARN, "iommu=pt is not on the kernel command line", "iommu=pt", remedy)


def check_link(seen: Seen) -> Check:
    """What everybody calls /opt/rocm is this ROCm."""
    if seen.link == seen.prefix:
        return Check("rocm.link", "/opt/rocm", OK, seen.prefix, seen.prefix)
    remedy = "`sudo update-alternatives --auto rocm`, or remove the other ROCm; programs would mix two releases"
    found = f"leads to {seen.link}" if seen.link else "leads nowhere"
    return Check("rocm.link", "/opt/rocm", FAIL, found, seen.prefix, remedy)


def check_loader(seen: Seen) -> Check:
    """The dynamic loader knows this ROCm's libraries, and no other's."""
    title, wanted = "Library path", f"{seen.prefix}/lib"
    others = [
        name for name in seen.loader_dirs if name.startswith("/opt/rocm-") and not name.startswith(seen.prefix + "/")
    ]
    if wanted in seen.loader_dirs and not others:
        return Check("rocm.loader", title, OK, wanted, wanted)
    found = f"also {', '.join(others)}" if others else "not in /etc/ld.so.conf.d"
    remedy = "`site.yml` writes /etc/ld.so.conf.d/mi50-rocm.conf; remove files there that name another ROCm, `ldconfig`"
    return Check("rocm.loader", title, FAIL, found, wanted, remedy)


def check_depends(seen: Seen) -> Check:
    """No package lacks one that it needs: dpkg lets itself be forced, apt then refuses all work."""
    title, wanted = "Dependencies", "every package has what it needs"
    if seen.unmet is None:
        return Check("dpkg.depends", title, SKIP, "no dpkg")
    if not seen.unmet:
        return Check("dpkg.depends", title, OK, "met", wanted)
    more = f" and {len(seen.unmet) - _SHOWN} more" if len(seen.unmet) > _SHOWN else ""
    remedy = "`sudo apt-get --fix-broken install` brings back what was forced off; then site.yml"
    return Check("dpkg.depends", title, FAIL, "; ".join(seen.unmet[:_SHOWN]) + more, wanted, remedy)


def check_agents(seen: Seen) -> Check:
    """ROCm's own list has every card: driver, groups, libraries and visibility in one."""
    title, wanted = "rocminfo", f"gfx906 {len(seen.gfx906)} times"
    if seen.agents is None:
        remedy = "See the checks above; as the user of the engines: `id` must show render and video"
        return Check("rocm.agents", title, FAIL, seen.agents_error, wanted, remedy)
    count = seen.agents.count("gfx906")
    others = sorted({name for name in seen.agents if name != "gfx906"})
    found = f"gfx906 {count} times" + (f", also {', '.join(others)}" if others else "")
    if count == len(seen.gfx906):
        return Check("rocm.agents", title, OK, found, wanted)
    remedy = "A card is there but ROCm does not list it: kernel.log, kernel.kfd, env.visible, then power and riser"
    return Check("rocm.agents", title, FAIL, found, wanted, remedy)


def check_override(seen: Seen) -> Check:
    """No variable is set for everybody that guides ask for and that does harm here."""
    title = "Harmful variables"
    found = [one for one in seen.settings if one.name in _HARMFUL]
    if not found:
        return Check("env.override", title, OK, "none")
    said = ", ".join(f"{one.name}={one.value} in {one.file}" for one in found)
    why = "; ".join(f"{name}: {_HARMFUL[name]}" for name in sorted({one.name for one in found}))
    return Check("env.override", title, FAIL, said, "none", f"Remove the line. {why}")


def check_visible(seen: Seen) -> Check:
    """No variable hides cards from everybody; that belongs into the unit of one engine."""
    title = "Hidden cards"
    found = [one for one in seen.settings if one.name in _HIDING]
    if not found:
        return Check("env.visible", title, OK, "none")
    said = ", ".join(f"{one.name}={one.value} in {one.file}" for one in found)
    remedy = "Right only to hide an integrated GPU; otherwise remove the line and name cards in each engine's settings"
    return Check("env.visible", title, WARN, said, "none", remedy)


HOST_CHECKS = {
    "kernel.kfd": check_kfd,
    "kernel.log": check_log,
    "kernel.iommu": check_iommu,
    "rocm.link": check_link,
    "rocm.loader": check_loader,
    "dpkg.depends": check_depends,
    "rocm.agents": check_agents,
    "env.override": check_override,
    "env.visible": check_visible,
}
