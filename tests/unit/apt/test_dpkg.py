"""dpkg's status file, and apt-cache policy."""

from __future__ import annotations

from mi50.apt import dpkg, policy

STATUS = """Package: rocminfo
Status: install ok installed
Version: 5.7.1-3build1
Description: x
 Package: not-a-field

Package: amdgpu-dkms
Status: install ok half-configured
Version: 1:6.12.12.60403-2194681.22.04

Package: old
Status: deinstall ok config-files
Version: 1

Package: broken
Status: install reinstreq installed
Version: 1
"""
POLICY = """rocm-core:
  Installed: 6.4.3.60403-128~22.04
  Candidate: 6.4.3.60403-128~22.04
  Version table:
     99.0-1 500
        500 file:/srv/decoy bookworm/main amd64 Packages
 *** 6.4.3.60403-128~22.04 600
        600 http://mirror/radeon/rocm/apt/6.4.3 jammy/main amd64 Packages
        100 /var/lib/dpkg/status
linux-headers-x:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


def root(tmp_path):
    (tmp_path / "var/lib/dpkg/updates").mkdir(parents=True)
    (tmp_path / dpkg.STATUS).write_text(STATUS)
    return tmp_path


def test_status_and_audit(tmp_path):
    found = dpkg.read_status(root(tmp_path))
    assert found["rocminfo"].version == "5.7.1-3build1"
    assert dpkg.audit(found, tmp_path) == ["amdgpu-dkms half-configured", "broken installed"]
    (tmp_path / "var/lib/dpkg/updates/0001").touch()
    assert dpkg.audit(found, tmp_path)[-1] == "dpkg was interrupted"


def test_a_distributions_package_with_a_higher_version_is_found(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "m_dists_jammy_main_binary-amd64_Packages").write_text(
        "Package: rocminfo\nVersion: 1.0.0.60403-128~22.04\n\nPackage: rocblas\nVersion: 4.4.1.60403-128~22.04\n"
    )
    offered = dpkg.offered(lists, "m_dists_jammy_")
    assert dpkg.foreign(dpkg.read_status(root(tmp_path)), offered, "60403") == ["rocminfo=1.0.0.60403-128~22.04"]
    assert dpkg.foreign(dpkg.read_status(tmp_path), offered, "60404") == []


def test_builds_are_told_apart():
    assert dpkg.is_build("1:6.12.12.60403-2194681.22.04", "60403")
    assert not dpkg.is_build("6.4.60403", "60403")
    assert not dpkg.is_build("1.160403-1", "60403")


def test_policy():
    found = policy.parse(POLICY)
    assert found["rocm-core"].origins == ["http://mirror/radeon/rocm/apt/6.4.3 jammy/main"]
    assert found["linux-headers-x"].candidate == ""
