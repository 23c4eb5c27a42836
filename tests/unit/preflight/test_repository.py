"""The repository as a node meets it: real keys, real signatures, a real server; one thing broken at a time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from mi50.apt.openpgp import format_fingerprint
from mi50.preflight import repository
from mi50.preflight.model import FAIL, OK, SKIP, Probe
from mi50.preflight.proxy import ProxySettings
from mi50.preflight.release import Problem, check_signature
from mi50.preflight.targets import repository_for

from .mirror import BASE, Ask, Mirror, statuses


def test_good_repository(mirror: Mirror, ask: Ask) -> None:
    found = ask(mirror.target())
    assert statuses(found) == (OK, OK)
    assert format_fingerprint(mirror.gpg.names["vendor"]) in found["key"].found
    assert f"{mirror.url}/apt/dists/noble/InRelease" in found["lists"].found
    assert mirror.seen == [
        "/rocm.gpg.key",
        "/apt/dists/noble/InRelease",
        "/apt/dists/noble/main/binary-amd64/Packages.xz",
    ]


def test_wrong_fingerprint_names_both_and_stops(mirror: Mirror, ask: Ask) -> None:
    stranger = mirror.gpg.names["stranger"]
    found = ask(mirror.target(fingerprint=stranger))
    assert statuses(found) == (FAIL, SKIP)
    for words in (format_fingerprint(stranger), format_fingerprint(mirror.gpg.names["vendor"]), mirror.url):
        assert words in found["key"].found
    assert "rocm_apt_key_fingerprint" in found["key"].remedy
    assert mirror.seen == ["/rocm.gpg.key"]


def test_only_the_pinned_key_of_a_file_counts(mirror: Mirror, ask: Ask) -> None:
    mirror.key("vendor", "stranger")
    assert statuses(ask(mirror.target())) == (OK, OK)
    mirror.sign("stranger")
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert format_fingerprint(mirror.gpg.names["stranger"]) in found["lists"].found
    assert "not by the pinned one" in found["lists"].found


def test_packages_altered_after_signing(mirror: Mirror, ask: Ask) -> None:
    path = mirror.root / "apt/dists/noble/main/binary-amd64/Packages.xz"
    data = path.read_bytes()
    wanted = hashlib.sha256(data).hexdigest()
    for broken in (data + b"\n", data[:-1] + b"x"):
        path.write_bytes(broken)
        found = ask(mirror.target())
        assert statuses(found) == (OK, FAIL)
        for words in (f"{mirror.url}/apt/dists/noble/main", wanted, hashlib.sha256(broken).hexdigest(), "expected"):
            assert words in found["lists"].found


def test_weaker_forms_are_used_when_the_strongest_is_absent(mirror: Mirror, ask: Ask) -> None:
    folder = mirror.root / "apt/dists/noble/main/binary-amd64"
    (folder / "Packages.xz").unlink()
    assert statuses(ask(mirror.target())) == (OK, OK)
    (folder / "Packages").write_bytes(b"changed")
    assert statuses(ask(mirror.target())) == (OK, FAIL)
    (folder / "Packages").unlink()
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert "Packages.xz: HTTP 404" in found["lists"].found
    mirror.sign(forms=(".gz",))
    assert statuses(ask(mirror.target())) == (OK, OK)


def test_a_server_that_fails_is_no_missing_file(mirror: Mirror, ask: Ask) -> None:
    mirror.broken = "Packages.xz"
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert "Packages.xz: HTTP 500" in found["lists"].found


def test_a_list_beyond_the_limit_is_left_to_apt(mirror: Mirror, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "LIMIT", 5)
    assert statuses(ask(mirror.target())) == (OK, OK)
    assert mirror.seen[-1] == "/apt/dists/noble/InRelease"


def test_a_signature_of_another_key_in_the_keyring_is_none() -> None:
    valid = "[GNUPG:] GOODSIG X v\n[GNUPG:] VALIDSIG {0} 2026-01-01 1 0 4 0 22 8 01 {0}\n"
    check_signature(valid.format("A" * 40), "A" * 40)
    with pytest.raises(Problem):
        check_signature(valid.format("A" * 40), "B" * 40)


def test_component_that_is_not_listed(mirror: Mirror, ask: Ask) -> None:
    found = ask(mirror.target(components=("main", "proprietary")))
    assert statuses(found) == (OK, FAIL)
    assert "proprietary/binary-amd64/Packages" in found["lists"].found


def test_inrelease_altered_after_signing(mirror: Mirror, ask: Ask) -> None:
    mirror.edit("InRelease", b"Suite: noble", b"Suite: Noble")
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert "changed after it was signed" in found["lists"].found


def test_text_around_the_signed_part_does_not_count(mirror: Mirror, ask: Ask) -> None:
    mirror.sign(Origin="elsewhere")
    path = mirror.root / "apt/dists/noble/InRelease"
    path.write_bytes(b"Origin: repo.radeon.com\n" + path.read_bytes() + b"Origin: repo.radeon.com\n")
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert "'elsewhere', expected 'repo.radeon.com'" in found["lists"].found


def test_signed_by_a_stranger_or_by_nobody(mirror: Mirror, ask: Ask) -> None:
    mirror.sign("stranger")
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert format_fingerprint(mirror.gpg.names["stranger"]) in found["lists"].found
    (mirror.root / "apt/dists/noble/InRelease").write_text("<html>Please log in</html>")
    assert "no OpenPGP signature" in ask(mirror.target())["lists"].found


def test_weak_and_expired_signatures(mirror: Mirror, ask: Ask) -> None:
    mirror.sign("vendor", "--digest-algo", "SHA1", "--weak-digest", "MD5", "--allow-weak-key-signatures")
    assert "SHA-1" in ask(mirror.target())["lists"].found
    mirror.sign("vendor", "--faked-system-time", "20240201T000000", "--default-sig-expire", "1d")
    assert "expired" in ask(mirror.target())["lists"].found


def test_expired_key(mirror: Mirror, ask: Ask) -> None:
    mirror.key("old")
    found = ask(mirror.target(fingerprint=mirror.gpg.names["old"]))
    assert statuses(found) == (FAIL, SKIP)
    assert "expired on 2020-01-02" in found["key"].found
    assert "rocm_apt_key_file" in found["key"].remedy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Origin": "Ubuntu"}, "'Ubuntu', expected 'repo.radeon.com'"),
        ({"Origin": ""}, "'', expected"),
        ({"Date": formatdate(4102444800, usegmt=True)}, "in the future"),
        ({"Valid-Until": formatdate(1e9, usegmt=True)}, "is past"),
        ({"Date": "yesterday"}, "'yesterday' is no date"),
    ],
)
def test_fields(mirror: Mirror, ask: Ask, fields: dict[str, str], words: str) -> None:
    mirror.sign("vendor", **fields)
    found = ask(mirror.target())
    assert statuses(found) == (OK, FAIL)
    assert words in found["lists"].found


def test_valid_until_tomorrow_is_fine(mirror: Mirror, ask: Ask) -> None:
    mirror.sign("vendor", **{"Valid-Until": "Fri, 01 Jan 2100 00:00:00 UTC"})
    assert statuses(ask(mirror.target())) == (OK, OK)


def test_not_there(mirror: Mirror, ask: Ask) -> None:
    found = ask(mirror.target(key_url=f"{mirror.url}/other.key"))
    assert statuses(found) == (FAIL, SKIP)
    assert f"{mirror.url}/other.key: HTTP 404" in found["key"].found
    found = ask(mirror.target(suite="jammy"))
    assert statuses(found) == (OK, FAIL)
    assert "dists/jammy/InRelease: HTTP 404" in found["lists"].found
    assert "mi50_url_radeon" in found["lists"].remedy


def test_page_in_place_of_the_key(mirror: Mirror, ask: Ask) -> None:
    (mirror.root / "rocm.gpg.key").write_text("<html>Please log in</html>")
    found = ask(mirror.target())
    assert statuses(found) == (FAIL, SKIP)
    assert "<html>" in found["key"].found


def test_short_key_id_is_no_pin(mirror: Mirror, ask: Ask) -> None:
    found = ask(mirror.target(fingerprint="1A693C5C"))
    assert statuses(found) == (FAIL, SKIP)
    assert "1A693C5C" in found["key"].found
    assert mirror.seen == []


def test_handed_over_key(mirror: Mirror, ask: Ask) -> None:
    (mirror.root / "rocm.gpg.key").unlink()
    content = mirror.gpg.export("vendor").decode()
    assert statuses(ask(mirror.target(key_content=content))) == (OK, OK)
    wrong = ask(mirror.target(key_content=mirror.gpg.export("stranger").decode()))
    assert "rocm_apt_key_file holds" in wrong["key"].found
    down = (Probe(BASE, "http://m/x", "refused"),)
    assert statuses(ask(mirror.target(key_content=content), down)) == (OK, SKIP)


def test_proxy_is_used_and_named(mirror: Mirror, ask: Ask) -> None:
    settings = ProxySettings(variables={"http": mirror.url})
    target = mirror.target(url="http://radeon.invalid/apt", key_url="http://radeon.invalid/rocm.gpg.key")
    assert statuses(ask(target, proxies=settings)) == (OK, OK)
    assert mirror.seen[0] == "http://radeon.invalid/rocm.gpg.key"
    gone = ProxySettings(variables={"http": "http://user:secret@127.0.0.1:9"})
    found = ask(target, proxies=gone)["key"].found
    assert "127.0.0.1:9 (mi50_http_proxy)" in found
    assert "secret" not in found
    # apt's own proxy is for what apt fetches.
    both = ProxySettings(variables={"http": mirror.url}, apt={"http": "http://127.0.0.1:9"}, apt_files={"http": "a"})
    assert statuses(ask(target, proxies=both)) == (OK, FAIL)


@pytest.mark.parametrize(
    ("probes", "words"),
    [((Probe(BASE, "http://m/x", "dns"),), "network.mi50_url_radeon failed"), ((), "preflight_bases")],
)
def test_not_asked_when_the_host_did_not_answer(
    mirror: Mirror, ask: Ask, probes: tuple[Probe, ...], words: str
) -> None:
    found = ask(mirror.target(), probes)
    assert statuses(found) == (SKIP, SKIP)
    assert words in found["key"].found
    assert mirror.seen == []


def test_unsupported_release_is_skipped(ask: Ask, stack: dict[str, Any]) -> None:
    assert repository_for(stack, "debian", "13") is None
    assert statuses(ask(None)) == (SKIP, SKIP)


def test_target_of_the_shipped_stack(stack: dict[str, Any]) -> None:
    target = repository_for(stack, "debian", "12")
    assert target
    assert (target.suite, target.components, target.key_content) == ("jammy", ("main",), "")
    assert target.url == f"{stack['bases'][BASE]}/rocm/apt/6.4.3"
    assert target.fingerprint == stack["rocm"]["key"]["fingerprint"]
    assert repository_for(stack, "debian", "12", "F" * 40, "text") == replace(
        target, fingerprint="F" * 40, key_content="text"
    )
