"""Reading a host from a tree of files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mi50.apt.dpkg import unfinished
from mi50.preflight.collect import (
    Options,
    collect,
    read_blacklist,
    read_disks,
    read_fan_daemons,
    read_kernel_log,
    read_proxies,
    read_secure_boot,
)
from mi50.preflight.evaluate import evaluate
from mi50.preflight.model import FAIL, Policy

STATUS = """Package: fine
Status: install ok installed
Version: 1

Package: amdgpu-dkms
Status: install ok half-configured

Package: removed
Status: deinstall ok config-files

Package: again
Status: install reinstreq installed

Package: waiting
Status: install ok triggers-pending
"""


def write(root: Path, path: str, text: str = "") -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def silent(_command: list[str]) -> tuple[int, str]:
    return 127, ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n# c=d\n')
    write(tmp_path, "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\n")
    write(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-40-amd64\n")
    write(tmp_path, "proc/cmdline", "quiet nomodeset\n")
    return tmp_path


def options(root: Path) -> Options:
    return Options(root, root / "sys", root / "proc", root / "dev", ("/opt/deep/er",), "6.4.3", 0.0)


def test_whole_host(root: Path, policy: Policy) -> None:
    asked = []
    host = collect(options(root), lambda *release: asked.append(release) or [], silent)
    assert asked == [("debian", "12")]
    assert (host.os_name, host.kernel, host.cmdline) == ("Debian 12", "6.1.0-40-amd64", "quiet nomodeset")
    assert (host.dpkg_broken, host.dpkg_interrupted, host.rocm_installed) == ({}, False, False)
    assert host.disks[0].free_bytes > 0
    assert host.clock_offset
    assert host.clock_offset > 1e9
    failures = {c.id for c in evaluate(host, replace(policy, expected_gpus=None)) if c.status == FAIL}
    assert {"kernel.amdgpu", "gpu.present", "time.clock"} <= failures


def test_bare_tree_does_not_crash(tmp_path: Path, policy: Policy) -> None:
    host = collect(options(tmp_path), lambda *_: [], silent)
    assert host.os_id == ""
    assert host.kernel_log is None
    assert evaluate(host, policy)


def test_dpkg_states(root: Path) -> None:
    write(root, "var/lib/dpkg/status", STATUS)
    broken, interrupted = unfinished(root)
    assert broken == {"amdgpu-dkms": "half-configured", "again": "installed", "waiting": "triggers-pending"}
    assert interrupted is False
    # What dpkg had written down last counts: one more package is half there, another is whole by now.
    write(root, "var/lib/dpkg/updates/0001", "Package: rocm-core\nStatus: install ok unpacked\n#padding\n")
    write(root, "var/lib/dpkg/updates/0002", "Package: waiting\nStatus: install ok installed\n")
    write(root, "var/lib/dpkg/updates/tmp.i", "Package: x\nStatus: install ok unpacked\n")
    broken, interrupted = unfinished(root)
    assert interrupted is True
    assert broken == {"amdgpu-dkms": "half-configured", "again": "installed", "rocm-core": "unpacked"}


def test_what_a_run_of_ours_was_cut_off_in_is_known(root: Path) -> None:
    write(root, "var/lib/dpkg/status", "Package: rocm-core\nStatus: install ok unpacked\n")
    options_of_ansible = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
    history = f"Start-Date: 2026-11-23  09:05:00\nCommandline: apt-get {options_of_ansible} install rocm\n"
    write(root, "var/log/apt/history.log", f"{history}Install: rocm-core:amd64 (6.4.3)\n")
    assert collect(options(root), lambda *_: [], silent).dpkg_cut == ""
    write(root, "var/lib/mi50-aipc/working.json", '{"format": 1, "since": 1700000000}')
    assert collect(options(root), lambda *_: [], silent).dpkg_cut == "apt-get install rocm of 2026-11-23 09:05"


def test_blacklist_lines(root: Path) -> None:
    write(root, "etc/modprobe.d/a.conf", "# blacklist amdgpu\nblacklist amdgpu-pro\nblacklist amdgpu # no\n")
    write(root, "usr/lib/modprobe.d/b.conf", "install amdgpu /bin/false\noptions amdgpu x=1\n")
    write(root, "usr/lib/modprobe.d/a.conf", "blacklist amdgpu\n")
    assert list(read_blacklist(root)) == [
        "/etc/modprobe.d/a.conf: blacklist amdgpu # no",
        "/usr/lib/modprobe.d/b.conf: install amdgpu /bin/false",
    ]


def test_disk_of_a_path_that_does_not_exist_yet(root: Path) -> None:
    (disk,) = read_disks(root, ["/opt/rocm/x"])
    assert disk.path == "/opt/rocm/x"
    assert disk.device == root.stat().st_dev


def test_secure_boot_variable(root: Path) -> None:
    path = root / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert read_secure_boot(root / "sys") is None
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x06\0\0\0\x01")
    assert read_secure_boot(root / "sys") is True
    path.write_bytes(b"\x06\0\0\0\0")
    assert read_secure_boot(root / "sys") is False


def test_fan_daemons(root: Path) -> None:
    text = (
        "Id=fancontrol.service\nActiveState=active\nUnitFileState=disabled\n\n"
        "Id=thinkfan.service\nActiveState=inactive\nUnitFileState=enabled\n\n"
        "Id=fan2go.service\nActiveState=inactive\nUnitFileState=\n"
    )

    def unasked(_command: list[str]) -> tuple[int, str]:
        raise AssertionError("systemd is asked although no such unit exists")

    assert read_fan_daemons(root, unasked) == ()
    write(root, "lib/systemd/system/fan2go.service", "")
    assert read_fan_daemons(root, lambda _command: (0, text)) == ("fancontrol.service", "thinkfan.service")
    assert read_fan_daemons(root, silent) is None


@pytest.mark.parametrize(
    "text", ['Acquire::HTTP::Proxy "http://p:1";', 'acquire { http { proxy "http://p:1"; } };', '#include "/x";']
)
def test_apt_is_asked_for_proxies_when_a_file_may_hold_one(root: Path, text: str) -> None:
    asked: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str]:
        asked.append(command)
        return 0, 'Acquire::http::Proxy "http://p:1";\n'

    write(root, "etc/apt/apt.conf.d/20other", 'APT::Install-Recommends "0";\n')
    assert read_proxies(Options(root=root), run).apt == {}
    assert asked == []
    write(root, "etc/apt/apt.conf.d/50mine", text)
    assert read_proxies(Options(root=root), run).apt == {"http": "http://p:1"}
    assert asked == [["apt-config", "dump", "Acquire"]]


def test_kernel_log(root: Path) -> None:
    assert read_kernel_log(root / "dev") is None
    line = "4,1,2,-;kfd kfd: amdgpu: skipped device 1002:66a1, PCI rejects atomics"
    write(root, "dev/kmsg", f"6,0,1,-;usb: hello\n{line}\n")
    assert read_kernel_log(root / "dev") == (line.partition(";")[2],)
