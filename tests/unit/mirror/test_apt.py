"""What of an apt repository is needed to install a package, by apt's own choice where there is one."""

from __future__ import annotations

from pathlib import Path

from mi50.mirror import apt

LISTING = """Package: rocm
Version: 6.4.3
Depends: hip (= 6.4.3), python3 | python3-minimal, mail-transport-agent
Recommends: docs
Filename: pool/r/rocm.deb
Size: 3
SHA256: aa

Package: hip
Version: 6.4.3
Pre-Depends: libc6 (>= 2.34)
Depends: missing-here, other-missing | libstdc++6:any
Filename: pool/h/hip.deb
Size: 4
SHA256: bb

Package: docs
Version: 1
Filename: pool/d/docs.deb
Size: 5
SHA256: cc

Package: postfix
Version: 1
Provides: mail-transport-agent, x
Filename: pool/p/postfix.deb
Size: 6
SHA256: dd

Package: libstdc++6
Version: 12
Filename: pool/s/stdc.deb
Size: 7
SHA256: ee

Package: libstdc++6
Version: 12-security
Filename: pool/s/stdc2.deb
Size: 7
SHA256: ff

Package: unrelated
Version: 1
Depends: rocm
Filename: pool/u/u.deb
Size: 8
SHA256: 00

Package: evil
Version: 1
Filename: ../../etc/evil.deb
Size: 8
SHA256: 00
"""


def read() -> tuple[dict[str, list[apt.Package]], dict[str, list[str]]]:
    packages: dict[str, list[apt.Package]] = {}
    provided: dict[str, list[str]] = {}
    apt._read(LISTING, Path("/m/www/radeon"), "http://a.example/radeon", packages, provided)
    return packages, provided


def test_the_closure_has_needs_recommendations_and_providers_and_nothing_else() -> None:
    packages, provided = read()
    assert apt.closure(["rocm"], packages, provided) == ["docs", "hip", "libstdc++6", "postfix", "rocm"]
    assert apt.closure(["docs"], packages, provided) == ["docs"]
    assert apt.closure(["mail-transport-agent"], packages, provided) == ["postfix"]


def test_every_version_that_is_offered_is_kept() -> None:
    packages, dummy = read()
    assert [one.sha256 for one in packages["libstdc++6"]] == ["ee", "ff"]
    assert packages["hip"][0].address == "http://a.example/radeon/pool/h/hip.deb"
    assert packages["hip"][0].path == Path("/m/www/radeon/pool/h/hip.deb")


def test_a_path_out_of_the_repository_is_no_package() -> None:
    assert "evil" not in read()[0]
