"""The node after role rocm: AMD's packages from the pinned repository only, and everybody finds them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import installed_versions, journal

PACKAGES = ["rocm", "rocm-core", "rocblas", "rocminfo", "rocm-smi-lib", "rocm-hip-runtime"]
BUILD = ".60403-"
PREFIX = "/opt/rocm-6.4.3"


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_of_the_stacks_build(host: Any, name: str) -> None:
    assert BUILD in installed_versions(host)[name]


@pytest.mark.parametrize("name", ["rocm-core", "rocminfo", "rocblas"])
def test_pin_wins_over_a_higher_version_of_the_distribution(host: Any, name: str) -> None:
    policy = host.check_output(f"apt-cache policy {name}")
    assert "99.0-1" in policy, "the decoy is gone, so this test proves nothing"
    candidate = next(line.split()[1] for line in policy.splitlines() if "Candidate:" in line)
    assert BUILD in candidate


def test_nothing_comes_from_the_decoy(host: Any) -> None:
    assert not [name for name, version in installed_versions(host).items() if version == "99.0-1"]


def test_keyring_holds_one_key_and_apt_may_read_it(host: Any) -> None:
    keyring = host.file("/etc/apt/keyrings/rocm.gpg")
    assert keyring.mode == 0o644
    assert keyring.content[0] & 0x80, "not binary"
    assert keyring.content.count(b"stand-in for AMD's release key") == 1


def test_every_file_has_the_version(host: Any) -> None:
    assert host.file(f"{PREFIX}/.info/version").content_string.startswith("6.4.3-")
    assert f"{PREFIX}/lib\n" in host.file("/etc/ld.so.conf.d/mi50-rocm.conf").content_string
    assert "Pin: release o=repo.radeon.com" in host.file("/etc/apt/preferences.d/mi50-rocm").content_string


def test_login_shells_and_services_find_the_tools(host: Any) -> None:
    with journal(host):
        assert host.check_output("bash -lc 'command -v rocminfo'") == f"{PREFIX}/bin/rocminfo"
        unit = "systemd-run --wait --pipe -q -p EnvironmentFile=/etc/mi50-aipc/rocm.env sh -c 'command -v rocminfo'"
        assert host.check_output(unit) == f"{PREFIX}/bin/rocminfo"


def test_nobody_is_told_to_override_the_gpu(host: Any) -> None:
    for path in ("/etc/mi50-aipc/rocm.env", "/etc/profile.d/mi50-rocm.sh"):
        lines = host.file(path).content_string.splitlines()
        assert not [line for line in lines if "HSA_OVERRIDE" in line and not line.lstrip().startswith("#")]


def test_linker_knows_the_path(host: Any) -> None:
    assert f"{PREFIX}/lib" in host.check_output("ldconfig -v 2>/dev/null")


def test_user_is_in_both_groups(host: Any) -> None:
    assert {"render", "video"} <= set(host.user("ops").groups)


def test_dpkg_is_whole(host: Any) -> None:
    assert host.check_output("dpkg --audit") == ""
