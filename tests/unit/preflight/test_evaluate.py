"""Every check, one deviation at a time: its status, what it names, and that nothing else changes its mind."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from mi50.preflight.evaluate import evaluate
from mi50.preflight.model import FAIL, OK, SKIP, WARN, Check, Disk, HostState, Policy, Probe, Proxy

from .conftest import GIB, ROOT, gpu

IGPU = gpu("0000:0a:00.0", device_id="0x164e", vram_total=512 << 20, vram_visible=512 << 20)


def by_id(host: HostState, policy: Policy) -> dict[str, Check]:
    checks = evaluate(host, policy)
    found = {check.id: check for check in checks}
    assert len(found) == len(checks), "ids are unique"
    return found


def test_good_host_has_no_complaint(good_host: HostState, policy: Policy) -> None:
    assert {c.id: c.status for c in evaluate(good_host, policy) if c.status != OK} == {}


def test_bad_checks_always_say_the_way_out(good_host: HostState, policy: Policy) -> None:
    empty = HostState(probes=(Probe("mi50_url_radeon", "https://m/x", "dns"),))
    for check in evaluate(empty, policy):
        assert check.status not in (WARN, FAIL) or check.remedy, check.id


# name, host changes, policy changes, id, status, words in found, expected or remedy
Case = tuple[str, dict[str, Any], dict[str, Any], str, str, list[str]]
CASES: list[Case] = [
    ("debian 12", {"os_id": "debian", "os_version": "12"}, {}, "os.release", OK, []),
    ("debian 13", {"os_id": "debian", "os_version": "13"}, {}, "os.release", FAIL, ["refused", "libxml2.so.2"]),
    ("ubuntu 25.10", {"os_id": "ubuntu", "os_version": "25.10"}, {}, "os.release", FAIL, ["refused", "noble"]),
    ("ubuntu 26.04", {"os_id": "ubuntu", "os_version": "26.04"}, {}, "os.release", FAIL, ["refused"]),
    ("ubuntu 25.04", {"os_version": "25.04"}, {}, "os.release", FAIL, ["no packages", "debian 12"]),
    ("fedora", {"os_id": "fedora", "os_version": "43", "os_name": "Fedora 43"}, {}, "os.release", FAIL, ["Fedora 43"]),
    ("no os-release", {"os_id": "", "os_version": "", "os_name": ""}, {}, "os.release", FAIL, ["no os-release"]),
    ("arm", {"arch": "aarch64"}, {}, "os.arch", FAIL, ["aarch64", "x86_64"]),
    ("auto, listed kernel", {}, {}, "kernel.driver_mode", OK, ["DKMS driver"]),
    ("auto, HWE kernel", {"kernel": "6.14.0-24-generic"}, {}, "kernel.driver_mode", OK, ["in-tree driver"]),
    ("dkms, listed", {}, {"kernel_driver": "dkms"}, "kernel.driver_mode", OK, ["DKMS"]),
    (
        "dkms, HWE kernel",
        {"kernel": "6.14.0-24-generic"},
        {"kernel_driver": "dkms"},
        "kernel.driver_mode",
        FAIL,
        ["6.14", "rocm_kernel_driver: auto", "leaves apt broken"],
    ),
    ("6.80 is not 6.8", {"kernel": "6.80.1"}, {"kernel_driver": "dkms"}, "kernel.driver_mode", FAIL, ["6.80"]),
    ("inbox anywhere", {"kernel": "7.0.1"}, {"kernel_driver": "inbox"}, "kernel.driver_mode", OK, ["in-tree"]),
    ("unknown release", {"os_id": "arch"}, {}, "kernel.driver_mode", SKIP, []),
    ("nomodeset", {"cmdline": "a nomodeset b", "amdgpu_loaded": False}, {}, "kernel.amdgpu", FAIL, ["nomodeset"]),
    (
        "blacklisted by command line",
        {"cmdline": "modprobe.blacklist=nouveau,amdgpu", "amdgpu_loaded": False},
        {},
        "kernel.amdgpu",
        FAIL,
        ["modprobe.blacklist"],
    ),
    (
        "blacklisted but loaded",
        {"amdgpu_blacklist": ("/etc/modprobe.d/x.conf: blacklist amdgpu",)},
        {},
        "kernel.amdgpu",
        WARN,
        ["/etc/modprobe.d/x.conf"],
    ),
    ("amdgpu.noretry is no obstacle", {"cmdline": "amdgpu.noretry=0"}, {}, "kernel.amdgpu", OK, []),
    (
        "DKMS broke apt",
        {"dpkg_broken": {"amdgpu-dkms": "half-configured", "linux-headers-6.14": "unpacked"}},
        {},
        "dpkg.audit",
        FAIL,
        [
            "amdgpu-dkms (half-configured)",
            "--force-remove-reinstreq",
            "dpkg --configure -a",
            "rocm_kernel_driver: inbox",
        ],
    ),
    ("another package", {"dpkg_broken": {"vim": "unpacked"}}, {}, "dpkg.audit", FAIL, ["vim", "dpkg --configure -a"]),
    ("interrupted", {"dpkg_interrupted": True}, {}, "dpkg.audit", FAIL, ["interrupted", "dpkg --configure -a"]),
    (
        "cut off in a run of ours, which is going on",
        {"dpkg_broken": {"amdgpu-dkms": "unpacked"}, "dpkg_cut": "apt-get install rocm"},
        {"mends": True},
        "dpkg.audit",
        WARN,
        ["a run of this project was cut off there: apt-get install rocm", "this run finishes it first"],
    ),
    (
        "cut off in a run of ours, and only looked at",
        {"dpkg_interrupted": True, "dpkg_cut": "apt-get install rocm"},
        {},
        "dpkg.audit",
        FAIL,
        ["Run again what was cut off"],
    ),
    (
        "full disk",
        {"disks": (Disk("/opt", 1, 3 * GIB), Disk("/usr", 2, 9 * GIB))},
        {},
        "disk.space",
        FAIL,
        ["/opt: 3.0 of 40 GiB", "preflight_min_free_gib"],
    ),
    (
        "paths on one file system add up",
        {"disks": (Disk("/opt", 1, 50 * GIB), Disk("/var/cache", 1, 50 * GIB))},
        {},
        "disk.space",
        FAIL,
        ["/opt + /var/cache", "56 GiB"],
    ),
    ("no inodes", {"disks": (Disk("/opt", 1, 99 * GIB, 0),)}, {}, "disk.space", FAIL, ["inode"]),
    ("installed already", {"disks": (Disk("/opt", 1, 3 * GIB),), "rocm_installed": True}, {}, "disk.space", OK, []),
    ("no thresholds", {}, {"min_free_gib": {}}, "disk.space", SKIP, []),
    ("secure boot with dkms", {"secure_boot": True}, {}, "boot.secure_boot", WARN, ["mokutil", "inbox"]),
    ("secure boot, in-tree", {"secure_boot": True}, {"kernel_driver": "inbox"}, "boot.secure_boot", OK, []),
    ("legacy boot", {"secure_boot": None}, {}, "boot.secure_boot", SKIP, []),
    ("fancontrol", {"fan_daemons": ("fancontrol.service",)}, {}, "fan.daemons", WARN, ["disable --now fancontrol"]),
    ("no systemd", {"fan_daemons": None}, {}, "fan.daemons", SKIP, []),
    ("no python-apt", {"python_apt": False}, {}, "apt.python", OK, ["installs it"]),
    ("no python-apt, --check", {"python_apt": False}, {"check_mode": True}, "apt.python", FAIL, ["python3-apt"]),
    ("clock 5 min off", {"clock_offset": -300.0}, {}, "time.clock", WARN, ["300 s behind", "set-ntp"]),
    ("clock a day off", {"clock_offset": 86400.0}, {}, "time.clock", FAIL, ["ahead"]),
    ("no gfx906", {"gpus": (), "gfx906": ()}, {}, "gpu.present", FAIL, ["no AMD GPU", "script/lab"]),
    ("another AMD card", {"gpus": (IGPU,), "gfx906": ()}, {}, "gpu.present", FAIL, ["0000:0a:00.0", "0x164e"]),
    ("one of two", {}, {"expected_gpus": 2}, "gpu.count", FAIL, ["1, and mi50_expected_gpus is 2", "riser"]),
    ("one too many", {}, {"expected_gpus": 0}, "gpu.count", FAIL, []),
    ("no expectation", {}, {"expected_gpus": None}, "gpu.count", SKIP, []),
    ("16 GB BAR", {"gpus": (gpu(vram_visible=16 * GIB),)}, {}, "gpu.bar", WARN, ["16 of 32 GiB", "Above 4G", "Vulkan"]),
    ("BAR unknown", {"gpus": (gpu(vram_visible=None),)}, {}, "gpu.bar", SKIP, []),
    ("not bound", {"gpus": (gpu(driver=None, kfd_node=None),)}, {}, "gpu.driver_bound", FAIL, ["-12", "Above 4G"]),
    (
        "module not there yet",
        {"gpus": (gpu(driver=None, kfd_node=None),), "amdgpu_loaded": False},
        {},
        "gpu.driver_bound",
        WARN,
        ["rocm role"],
    ),
    ("given to a VM", {"gpus": (gpu(driver="vfio-pci"),)}, {}, "gpu.driver_bound", FAIL, ["vfio-pci"]),
    ("no KFD node", {"gpus": (gpu(kfd_node=None),)}, {}, "gpu.kfd", FAIL, ["0 of 1", "atomics"]),
    ("KFD node 0 is a node", {"gpus": (gpu(kfd_node=0),)}, {}, "gpu.kfd", OK, []),
    (
        "atomics refused",
        {"kernel_log": ("kfd kfd: amdgpu: skipped device 1002:66a1, PCI rejects atomics 730<0",)},
        {},
        "gpu.pcie_atomics",
        FAIL,
        ["rejects atomics", "slot"],
    ),
    ("kernel log closed", {"kernel_log": None}, {}, "gpu.pcie_atomics", SKIP, ["not readable"]),
    ("iGPU", {"gpus": (gpu(), IGPU)}, {}, "gpu.igpu", WARN, ["ROCR_VISIBLE_DEVICES=GPU-18f68c9d3b1f7a25", "0000:0a"]),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_one_deviation(good_host: HostState, policy: Policy, case: Case) -> None:
    _name, host, asked, check_id, status, words = case
    check = by_id(replace(good_host, **host), replace(policy, **asked))[check_id]
    assert check.status == status, check
    text = f"{check.found} {check.expected} {check.remedy}"
    assert all(word in text for word in words), text
    assert status not in (WARN, FAIL) or check.remedy


@pytest.mark.parametrize(
    ("probe", "status", "words"),
    [
        (Probe("mi50_url_radeon", "https://m/x", "dns", "no such name"), FAIL, ["does not resolve", "mi50_http_proxy"]),
        (Probe("mi50_url_radeon", "https://m/x", "not_found", "HTTP 404"), FAIL, ["no such file", "mi50_url_radeon"]),
        (Probe("mi50_url_radeon", "https://m/x", "tls", "bad"), FAIL, ["ca-certificates", "clock"]),
        (Probe("mi50_url_radeon", "", "skip", "empty"), SKIP, ["empty"]),
        (
            Probe(
                "mi50_url_radeon", "http://m/x", "proxy_unreachable", "", Proxy("http://u:pw@p:1", "/etc/environment")
            ),
            FAIL,
            ["/etc/environment", "http://***@p:1", "mi50_no_proxy"],
        ),
        (
            Probe("mi50_url_radeon", "http://m/x", "proxy_auth", "", Proxy("http://p:1", "mi50_http_proxy")),
            FAIL,
            ["credentials", "mi50_http_proxy"],
        ),
        (
            Probe("mi50_url_radeon", "http://m/x", "ok", "", Proxy("http://p:1", "apt.conf")),
            OK,
            ["through", "apt.conf"],
        ),
    ],
)
def test_probes(good_host: HostState, policy: Policy, probe: Probe, status: str, words: list[str]) -> None:
    check = by_id(replace(good_host, probes=(probe,)), policy)["network.mi50_url_radeon"]
    text = f"{check.found} {check.remedy}"
    assert check.status == status
    assert all(word in text for word in words), text
    assert "pw" not in text


def test_every_id_is_documented(good_host: HostState, policy: Policy) -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    ids = {c.id for c in evaluate(replace(good_host, probes=()), policy)}
    assert {"repository.key", "repository.lists"} <= ids
    ids |= set(
        re.findall(r'"((?:inventory|stack)\.[a-z]+)"', (ROOT / "module_utils/mi50/preflight/inventory.py").read_text())
    )
    assert len(ids) > 20
    assert {check_id for check_id in ids if f"`{check_id}`" not in page} == set()
