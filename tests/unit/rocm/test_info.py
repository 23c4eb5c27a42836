"""What rocm_info tells of a node, on file trees."""

from __future__ import annotations

import time

import pytest
from mi50.rocm import host, info
from mi50.rocm.driver import Kernel, PlatformError

RELEASE = "6.1.0-40-amd64"
PLATFORMS = [
    {"id": "debian", "version": "12", "suite": "jammy", "kernels": ["6.1"], "extra_packages": ["libpython3.11"]},
    {"id": "ubuntu", "version": "24.04", "suite": "noble", "kernels": ["6.8"], "extra_packages": []},
]
ROCM = "Package: {}\nStatus: install ok installed\nVersion: 6.4.3.60403-128~22.04\n\n"


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def roots(tmp_path):
    """Debian 12 with one card, its driver loaded, ROCm not installed."""
    roots = host.Roots(tmp_path, tmp_path / "sys", tmp_path / "proc", tmp_path / "dev")
    write(tmp_path / "etc/os-release", 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    write(tmp_path / "etc/passwd", "root:x:0:0::/:/bin/sh\nops:x:1000:1000::/:/bin/sh\n")
    write(tmp_path / "etc/group", "video:x:44:ops\nops:x:1000:\n")
    write(tmp_path / "var/lib/dpkg/status", "Package: python3-apt\nStatus: install ok installed\nVersion: 1\n\n")
    write(tmp_path / "proc/sys/kernel/osrelease", RELEASE + "\n")
    write(tmp_path / "proc/stat", f"cpu 1\nbtime {int(time.time()) - 1000}\n")
    write(tmp_path / f"lib/modules/{RELEASE}/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz")
    write(tmp_path / "lib/firmware/amdgpu/vega20_mec.bin")
    device = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    write(device / "vendor", "0x1002\n")
    write(device / "class", "0x038000\n")
    write(tmp_path / "sys/module/amdgpu/refcnt", "1\n")
    write(tmp_path / "dev/kfd")
    return roots


class Apt:
    """apt-cache policy: knows the candidates it is given."""

    def __init__(self, *offered, text=""):
        self.offered, self.text, self.asked = offered, text, []

    def __call__(self, command):
        assert command[:2] == ["apt-cache", "policy"]
        self.asked += command[2:]
        known = [name for name in command[2:] if name in self.offered]
        return 0, self.text or "".join(f"{name}:\n  Installed: (none)\n  Candidate: 1\n" for name in known)


def collect(roots, apt=None, **wanted):
    base = {
        "version": "6.4.3",
        "build": "60403",
        "platforms": PLATFORMS,
        "packages": ["rocm"],
        "driver_packages": ["amdgpu-dkms"],
    }
    return info.collect(roots, info.Wanted(**{**base, **wanted}), apt or Apt())


def install(roots, *names):
    with (roots.root / "var/lib/dpkg/status").open("a") as status:
        status.write("".join(ROCM.format(name) for name in names))
    write(roots.root / "opt/rocm-6.4.3/.info/version", "6.4.3-128\n")


def test_bare_node(roots):
    found = collect(roots, users=["ops", "ghost"])
    assert found["platform"]["suite"] == "jammy"
    assert found["driver"]["mode"] == "inbox" and found["driver"]["packages"] == []
    missing = found["missing"]
    assert missing["packages"] == ["rocm"] and missing["extra_packages"] == ["libpython3.11"]
    assert missing["apt_modules"] == []
    assert missing["groups"] == ["render"] and missing["users"] == ["ghost"]
    assert {"user": "ops", "groups": ["render"]} in missing["memberships"]
    assert found["gpus"] == 1 and found["reboot_reasons"] == []
    assert any("rocm-core" in text for text in found["problems"])


def test_converged_node(roots):
    install(roots, "rocm", "rocblas")
    version = "6.4.3.60403-128~22.04"
    text = "".join(
        f"{name}:\n  Installed: {version}\n *** {version} 600\n        600 {origin}\n"
        for name, origin in (("rocm", "http://m/rocm jammy/main amd64 Packages"), ("rocblas", "/var/lib/dpkg/status"))
    )
    found = collect(roots, Apt(text=text), uris=["http://m/rocm/"])
    assert found["problems"] == [] and found["missing"]["packages"] == []
    assert [item["name"] for item in found["wrong_origin"]] == ["rocblas"]
    assert found["rocm"]["version"] == "6.4.3-128"


def test_another_build_is_missing(roots):
    install(roots, "rocm")
    found = collect(roots, version="6.3.3", build="60303")
    assert found["missing"]["packages"] == ["rocm"] and len(found["problems"]) == 2


def test_dkms_when_headers_are_offered(roots):
    driver = collect(roots, Apt(f"linux-headers-{RELEASE}"))["driver"]
    assert driver["mode"] == "dkms"
    assert sorted(driver["packages"]) == ["amdgpu-dkms", f"linux-headers-{RELEASE}"]


def test_firmware_of_debian(roots):
    (roots.root / "lib/firmware/amdgpu/vega20_mec.bin").unlink()
    assert "non-free-firmware" in collect(roots)["driver"]["warnings"][0]
    assert collect(roots, Apt("firmware-amd-graphics"))["driver"]["packages"] == ["firmware-amd-graphics"]


def test_container_asks_apt_nothing(roots):
    write(roots.root / "run/systemd/container", "docker")
    apt = Apt()
    assert collect(roots, apt)["driver"]["mode"] == "host" and apt.asked == []


def test_half_configured_dkms_is_a_problem(roots):
    with (roots.root / "var/lib/dpkg/status").open("a") as status:
        status.write("Package: amdgpu-dkms\nStatus: install ok half-configured\nVersion: 1\n")
    found = collect(roots)
    assert found["dpkg_audit"] == ["amdgpu-dkms half-configured"] and "dpkg --configure -a" in found["problems"][0]


def test_unsupported_system(roots):
    write(roots.root / "etc/os-release", "ID=debian\nVERSION_ID=13\n")
    with pytest.raises(PlatformError, match="debian 13"):
        collect(roots)
    # Whatever it is, what is installed there can be found and removed.
    install(roots, "rocm")
    assert list(collect(roots, platforms=[])["rocm"]["packages"]) == ["rocm"]


def reasons(roots, **kernel):
    return host.reboot_reasons(roots, Kernel(**{"release": RELEASE, "amdgpu": "inbox", **kernel}))


def test_reboot_distribution_asks(roots):
    write(roots.root / "run/reboot-required")
    write(roots.root / "run/reboot-required.pkgs", "linux-base\nlinux-base\n")
    assert reasons(roots) == ["the distribution asks for it (/run/reboot-required: linux-base)"]


def test_reboot_no_kfd(roots):
    (roots.dev / "kfd").unlink()
    assert "no " in reasons(roots)[0] and "kfd" in reasons(roots)[0]
    assert reasons(roots, container=True) == []
    assert reasons(roots, amdgpu=None) == []


def test_reboot_another_module_is_loaded(roots):
    assert "kernel's own amdgpu is loaded" in reasons(roots, amdgpu="dkms")[0]
    write(roots.sys / "module/amdgpu/version", "6.12.12")
    assert reasons(roots, amdgpu="dkms") == []
    assert "still loaded" in reasons(roots)[0]


def test_reboot_new_kernel(roots):
    new = roots.root / "boot/vmlinuz-6.1.0-41-amd64"
    write(new)
    (roots.root / "boot/vmlinuz").symlink_to(new)
    assert reasons(roots) == [f"kernel 6.1.0-41-amd64 was installed, {RELEASE} is running"]
    # Older than this boot: passed over on purpose.
    write(roots.proc / "stat", f"btime {int(time.time()) + 1000}\n")
    assert reasons(roots) == []


def test_reboot_running_kernel_removed(roots):
    assert "was removed" in reasons(roots, release="6.1.0-1-amd64")[0]


def test_secure_boot(roots):
    variable = roots.sys / "firmware/efi/efivars/SecureBoot-8be4df61"
    assert host.secure_boot(roots) is False
    write(variable)
    variable.write_bytes(b"\x06\0\0\0\x01")
    assert host.secure_boot(roots) is True


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"missing": {"packages": ["rocm"], "groups": []}}, False),
        ({"driver": {"mode": "inbox", "packages": ["firmware-amd-graphics"]}}, False),
        ({"driver": {"mode": "dkms", "packages": []}}, False),
        ({"problems": ["dpkg: amdgpu-dkms half-configured"]}, False),
        ({"wrong_origin": [{"name": "rocminfo"}]}, False),
        ({"stale_links": ["/opt/rocm-6.4.3"]}, False),
    ],
)
def test_settled_only_when_nothing_is_left_to_do(change, expected):
    seen = {
        "missing": {"packages": [], "groups": []},
        "driver": {"mode": "inbox", "packages": []},
        "problems": [],
        "wrong_origin": [],
        "stale_links": [],
    }
    assert info.settled({**seen, **change}) is expected
