"""After rocm_state: absent the node is what it was before, but for what a removal cannot know to be unused."""

from __future__ import annotations

from typing import Any

BEFORE = "/var/lib/mi50-before"
# Members of render and video stay: others may use the groups.
STAYS = {"/etc/group", "/etc/gshadow"}
# Packages of the distribution stay: nothing tells who else uses them by now.
EXTRA = {"libpython3.11"}
# As in prepare.yml.
FIND = (
    "find /etc /opt /usr/share/keyrings /usr/local -xdev ! -name ld.so.cache ! -name '*-'"
    " '(' -type l -printf '%l %p\\n' -o -type f -exec sha256sum {} + ')'"
)


def rows(text: str) -> dict[str, str]:
    """Path to checksum."""
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in text.splitlines())}


def test_rocm_was_there(host: Any) -> None:
    assert "rocm-core" in host.check_output("cat /var/log/dpkg.log"), "nothing was installed: this proves nothing"


def test_packages(host: Any) -> None:
    before = set(host.check_output(f"cat {BEFORE}/packages").splitlines())
    after = set(host.check_output("dpkg-query -W -f '${Package}\\n'").splitlines())
    assert before ^ after == EXTRA


def test_files(host: Any) -> None:
    before = rows(host.check_output(f"cat {BEFORE}/files"))
    # dpkg takes /opt along when nothing is left in it, and find then complains.
    after = rows(host.run(FIND).stdout)
    assert len(before) > 100, "the snapshot is empty: this proves nothing"
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} - STAYS == set()


def test_apt_and_linker_forgot_it(host: Any) -> None:
    assert "radeon" not in host.check_output("apt-cache policy")
    assert "rocm" not in host.check_output("ldconfig -p")
    assert "99.0-1" in host.check_output("apt-cache policy rocminfo | grep Candidate"), "the pin is still there"
    assert host.check_output("dpkg --audit") == ""
