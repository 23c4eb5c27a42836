"""The OpenPGP reader against keys that gpg made."""

from __future__ import annotations

import time

import pytest
from mi50.apt import openpgp

YEAR = 365 * 86400


@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("name", ["rsa", "ed25519", "expired", "subkeyed"])
def test_fingerprint_is_gpgs(keys, name, armor):
    wanted = getattr(keys, name)
    (key,) = openpgp.read_keys(keys.gpg.export(wanted, armor=armor))
    assert key.fingerprint == wanted
    assert list(key.subkeys) == keys.gpg.fingerprints(wanted)[1:]


def test_expiry(keys):
    def read(name):
        return openpgp.read_keys(keys.gpg.export(getattr(keys, name)))[0]

    now = time.time()
    assert read("rsa").expires is None and not read("rsa").expired(now)
    assert abs((read("ed25519").expires or 0) - now - 2 * YEAR) < 3 * 86400
    assert read("expired").expired(now)


def test_a_certificate_ends_with_its_only_signing_subkey(keys):
    (key,) = openpgp.read_keys(keys.gpg.export(keys.subkeyed))
    assert abs((key.expires or 0) - time.time() - YEAR) < 2 * 86400


def test_extending_a_key_moves_its_end(gpg):
    name = gpg.make("extended@t.invalid", "ed25519", "1d")
    before = openpgp.read_keys(gpg.export(name))[0]
    time.sleep(1.1)  # signatures count seconds; the newer one wins
    gpg.run("--quick-set-expire", name, "5y")
    after = openpgp.read_keys(gpg.export(name))[0]
    assert after.fingerprint == before.fingerprint
    assert (after.expires or 0) > (before.expires or 0) + 4 * YEAR


def test_two_keys_are_split_and_their_data_imports(keys, gpg):
    both = gpg.export(keys.rsa) + gpg.export(keys.ed25519)
    found = openpgp.read_keys(both)
    assert [key.fingerprint for key in found] == [keys.rsa, keys.ed25519]
    assert b"".join(key.data for key in found) == both
    listing = gpg.run("--with-colons", "--show-keys", data=found[1].data).decode()
    assert keys.ed25519 in listing and keys.rsa not in listing


def test_damage_is_named(keys):
    binary, armored = keys.gpg.export(keys.rsa), keys.gpg.export(keys.rsa, armor=True)
    lines = armored.split(b"\n")
    lines[4] = lines[4][:-2] + (b"AA" if lines[4][-2:] != b"AA" else b"BB")
    for data, words in (
        (binary[:-10], "truncated"),
        (b"\n".join(lines), "checksum"),
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Proxy login", "DOCTYPE"),
        (keys.gpg.run("--export-secret-keys", keys.rsa), "PRIVATE"),
    ):
        with pytest.raises(openpgp.KeyDataError, match=words):
            openpgp.read_keys(data)


def test_every_truncation_is_an_error_or_a_shorter_certificate(keys):
    binary = keys.gpg.export(keys.ed25519)
    for end in range(1, len(binary)):
        try:
            (key,) = openpgp.read_keys(binary[:end])
        except openpgp.KeyDataError:
            continue
        assert key.fingerprint == keys.ed25519


@pytest.mark.parametrize("value", ["9386B48A1A693C5C", "CA8B", "", "G" * 40])
def test_short_ids_are_refused(value):
    with pytest.raises(ValueError, match="no fingerprint"):
        openpgp.normalise_fingerprint(value)


def test_spaces_and_case_do_not_matter():
    spaced = "ca8b b472 7a47 b4d0 9b4e  e896 9386 b48a 1a69 3c5c"
    assert openpgp.normalise_fingerprint(spaced) == "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
