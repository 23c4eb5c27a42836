"""The node after role rocm on a kernel of AMD's matrix: AMD's driver package, its headers, a whole dpkg."""

from __future__ import annotations

from typing import Any

from helpers import installed_versions

RELEASE = "6.1.0-99-amd64"


def test_driver_of_the_stacks_build(host: Any) -> None:
    assert ".60403-" in installed_versions(host)["amdgpu-dkms"]


def test_headers_came_first(host: Any) -> None:
    log = [line.split() for line in host.check_output("cat /var/log/dpkg.log").splitlines()]
    order = [words[3].partition(":")[0] for words in log if words[2] == "install"]
    assert order.index(f"linux-headers-{RELEASE}") < order.index("amdgpu-dkms")


def test_dpkg_is_whole(host: Any) -> None:
    assert host.check_output("dpkg --audit") == ""


def test_both_sources_are_pinned_to_one_key(host: Any) -> None:
    for name in ("rocm", "amdgpu"):
        text = host.file(f"/etc/apt/sources.list.d/mi50-{name}.sources").content_string
        assert "Signed-By: /etc/apt/keyrings/rocm.gpg\n" in text
