"""Checks of the cards, on the list of module_utils/mi50/amdgpu (the contract of amdgpu_info). Pure."""

from __future__ import annotations

from typing import Any

from .model import FAIL, OK, SKIP, WARN, Check, HostState, Policy

GIB = 1024**3
NO_CARD = "gpu.present"


def _cards(host: HostState) -> list[dict[str, Any]]:
    return [gpu for gpu in host.gpus if gpu["pci_address"] in host.gfx906]


def _list(gpus: list[dict[str, Any]]) -> str:
    return ", ".join(str(gpu["pci_address"]) for gpu in gpus)


def check_present(host: HostState, _policy: Policy) -> Check:
    """At least one gfx906 card."""
    title, expected = "gfx906 card", "at least one (PCI 1002:66a0 to 66af)"
    if host.gfx906:
        return Check(NO_CARD, title, OK, ", ".join(host.gfx906), expected)
    others = [f"{gpu['pci_address']} {gpu['vendor_id']}:{gpu['device_id']}" for gpu in host.gpus]
    found = f"none; other AMD GPUs: {', '.join(others)}" if others else "no AMD GPU"
    remedy = (
        "Check `lspci -nn -d 1002:`, the power connectors, and Above 4G decoding in the firmware; "
        "to try this without a card run script/lab"
    )
    return Check(NO_CARD, title, FAIL, found, expected, remedy)


def check_count(host: HostState, policy: Policy) -> Check:
    """As many cards as the inventory says."""
    title = "Number of cards"
    found = str(len(host.gfx906))
    if policy.expected_gpus is None:
        return Check("gpu.count", title, SKIP, f"{found}; mi50_expected_gpus is not set")
    if len(host.gfx906) == policy.expected_gpus:
        return Check("gpu.count", title, OK, found, str(policy.expected_gpus))
    remedy = (
        "A card is missing (riser, power, slot, firmware: see `lspci -nn -d 1002:` and the kernel log), "
        "or mi50_expected_gpus is wrong for this host"
    )
    return Check(
        "gpu.count",
        title,
        FAIL,
        f"{found}, and mi50_expected_gpus is {policy.expected_gpus}",
        str(policy.expected_gpus),
        remedy,
    )


def check_bound(host: HostState, _policy: Policy) -> Check:
    """The cards belong to amdgpu, or the module is not loaded yet."""
    title, expected = "Driver", "amdgpu bound to every card"
    loose = [gpu for gpu in _cards(host) if gpu.get("driver") != "amdgpu"]
    if not host.gfx906:
        return Check("gpu.driver_bound", title, SKIP, "no card")
    if not loose:
        return Check("gpu.driver_bound", title, OK, "amdgpu", expected)
    taken = [f"{gpu['pci_address']} ({gpu['driver']})" for gpu in loose if gpu.get("driver")]
    if taken:
        remedy = "The card is given away, as a rule to a virtual machine: undo the vfio-pci binding and reboot"
        return Check("gpu.driver_bound", title, FAIL, f"other driver: {', '.join(taken)}", expected, remedy)
    if not host.amdgpu_loaded:
        remedy = "The rocm role provides the driver; a reboot may follow"
        return Check(
            "gpu.driver_bound", title, WARN, f"amdgpu is not loaded; without driver: {_list(loose)}", expected, remedy
        )
    remedy = (
        "amdgpu is loaded and refused the card: see `dmesg | grep amdgpu`. -12: switch Above 4G decoding "
        "on in the firmware "
        "(or boot with pci=realloc); -22: the VBIOS does not fit the card; firmware missing: Debian needs "
        "firmware-amd-graphics"
    )
    return Check("gpu.driver_bound", title, FAIL, f"without driver: {_list(loose)}", expected, remedy)


def check_kfd(host: HostState, _policy: Policy) -> Check:
    """Every card that has its driver is also a compute node."""
    title = "Compute nodes (KFD)"
    bound = [gpu for gpu in _cards(host) if gpu.get("driver") == "amdgpu"]
    if not bound:
        return Check("gpu.kfd", title, SKIP, "no card with a driver")
    missing = [gpu for gpu in bound if gpu.get("kfd_node") is None]
    found = f"{len(bound) - len(missing)} of {len(bound)} cards"
    if not missing:
        return Check("gpu.kfd", title, OK, found, "all")
    remedy = (
        f"The kernel skipped {_list(missing)}: see `dmesg | grep kfd`. `PCI rejects atomics` means this "
        "slot or riser has no PCIe "
        "atomics: move the card to a slot of the processor"
    )
    return Check("gpu.kfd", title, FAIL, found, "all", remedy)


def check_atomics(host: HostState, _policy: Policy) -> Check:
    """The kernel log says whether PCIe atomics were refused."""
    title = "PCIe atomics"
    if host.kernel_log is None:
        return Check("gpu.pcie_atomics", title, SKIP, "the kernel log is not readable here; gpu.kfd shows the effect")
    lines = [line for line in host.kernel_log if "rejects atomics" in line]
    if lines:
        remedy = (
            "ROCm needs PCIe atomics: use a slot of the processor (Zen, Haswell or newer), not one behind a "
            "chipset or a x1 riser"
        )
        return Check("gpu.pcie_atomics", title, FAIL, lines[-1].strip()[:160], "not refused", remedy)
    return Check("gpu.pcie_atomics", title, OK, "not refused in the kernel log", "not refused")


def check_bar(host: HostState, _policy: Policy) -> Check:
    """The processor sees all of the card's memory: Vulkan can use no more than that."""
    title = "Visible memory (BAR)"
    known = [gpu for gpu in _cards(host) if gpu.get("vram_total") and gpu.get("vram_visible")]
    if not known:
        return Check("gpu.bar", title, SKIP, "memory sizes not known without the driver")
    sizes = [
        f"{gpu['pci_address']} {gpu['vram_visible'] / GIB:.0f} of {gpu['vram_total'] / GIB:.0f} GiB" for gpu in known
    ]
    small = [gpu for gpu in known if gpu["vram_visible"] < gpu["vram_total"]]
    if not small:
        return Check("gpu.bar", title, OK, ", ".join(sizes), "all of it")
    vbios = sorted({str(gpu["vbios"]) for gpu in small if gpu.get("vbios")})
    remedy = (
        "ROCm engines are not affected, Vulkan engines (LM Studio, llama.cpp) see only the visible part. "
        "Switch Above 4G decoding and "
        "Resizable BAR on in the firmware; VBIOS 113-D1631711-100 cannot do more than 16 GB (here: "
        f"{', '.join(vbios) or 'unknown'})"
    )
    return Check("gpu.bar", title, WARN, ", ".join(sizes), "all of it", remedy)


def check_igpu(host: HostState, _policy: Policy) -> Check:
    """Another AMD GPU on the host can be picked by mistake or crash the runtime."""
    title = "Other AMD GPUs"
    others = [gpu for gpu in host.gpus if gpu["pci_address"] not in host.gfx906]
    if not others:
        return Check("gpu.igpu", title, OK, "none")
    if not host.gfx906:
        return Check("gpu.igpu", title, SKIP, _list(others))
    ids = [f"GPU-{str(gpu['unique_id']).replace('0x', '')}" for gpu in _cards(host) if gpu.get("unique_id")]
    remedy = (
        "Switch it off in the firmware, or show the engines the MI50 alone: "
        f"ROCR_VISIBLE_DEVICES={','.join(ids) or '<index of the MI50 in rocminfo>'}"
    )
    return Check("gpu.igpu", title, WARN, _list(others), "none", remedy)


GPU_CHECKS = {
    "gpu.present": check_present,
    "gpu.count": check_count,
    "gpu.driver_bound": check_bound,
    "gpu.kfd": check_kfd,
    "gpu.pcie_atomics": check_atomics,
    "gpu.bar": check_bar,
    "gpu.igpu": check_igpu,
}
