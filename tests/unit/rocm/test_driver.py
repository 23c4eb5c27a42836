"""The kernel/driver decision, one case a row."""

from __future__ import annotations

import pytest
from mi50.rocm.driver import Kernel, PlatformError, decide, find_platform

NOBLE = {"id": "ubuntu", "version": "24.04", "suite": "noble", "kernels": ["6.8", "6.11"]}
BOOKWORM = {"id": "debian", "version": "12", "suite": "jammy", "kernels": ["6.1"]}
DKMS = ["amdgpu-dkms"]


@pytest.mark.parametrize(
    ("kernel", "mode", "packages", "words"),
    [
        (Kernel("6.8.0-87-generic", headers="installed"), "dkms", ("amdgpu-dkms",), "in AMD's matrix"),
        (
            Kernel("6.11.0-9-generic", headers="available"),
            "dkms",
            ("linux-headers-6.11.0-9-generic", "amdgpu-dkms"),
            "6.11",
        ),
        # What a 24.04 box boots today: amdgpu-dkms does not build there.
        (Kernel("6.14.0-35-generic", headers="installed", amdgpu="inbox"), "inbox", (), "not in AMD's matrix"),
        (Kernel("6.14.0-35-generic", extra="available"), "inbox", ("linux-modules-extra-6.14.0-35-generic",), "not in"),
        (Kernel("6.8.0-87-generic", amdgpu="inbox"), "inbox", (), "neither installed nor on offer"),
        (Kernel("6.8.0-87-generic", headers="installed", secure_boot=True, amdgpu="inbox"), "inbox", (), "Secure Boot"),
        (Kernel("6.80.0-1", headers="installed", amdgpu="inbox"), "inbox", (), "not in AMD's matrix"),
        (Kernel("6.8.12-pve", container=True), "host", (), "container"),
    ],
)
def test_auto(kernel, mode, packages, words):
    decision = decide("auto", kernel, NOBLE, DKMS)
    assert (decision.mode, decision.packages) == (mode, packages)
    assert words in decision.reason


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (Kernel("6.14.0-35-generic", headers="installed"), "boot a kernel of 6.8 or 6.11"),
        (Kernel("6.8.0-87-generic"), "linux-headers-6.8.0-87-generic"),
        (Kernel("6.8.0", container=True), "belongs to the host"),
    ],
)
def test_dkms_that_cannot_work_is_refused_with_the_way_out(kernel, words):
    with pytest.raises(PlatformError, match=words) as caught:
        decide("dkms", kernel, NOBLE, DKMS)
    assert "rocm_kernel_driver" in str(caught.value)


def test_dkms_under_secure_boot_warns():
    decision = decide("dkms", Kernel("6.8.0-1", headers="installed", secure_boot=True), NOBLE, DKMS)
    assert decision.mode == "dkms" and "mokutil" in decision.warnings[0]


def test_inbox_without_any_module_warns():
    assert decide("inbox", Kernel("6.1.0-40-cloud-amd64"), BOOKWORM, DKMS).warnings
    assert not decide("inbox", Kernel("6.1.0-40-amd64", amdgpu="inbox"), BOOKWORM, DKMS).warnings


def test_unknown_system_names_the_known_ones():
    with pytest.raises(PlatformError, match=r"debian 13 is not supported.*ubuntu 24\.04, debian 12"):
        find_platform("debian", "13", [NOBLE, BOOKWORM])
    assert find_platform("debian", "12", [NOBLE, BOOKWORM]) is BOOKWORM
