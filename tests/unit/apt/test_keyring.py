"""Which key gets into the keyring, through the module itself."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run(plugin, capfd):
    def call(**params):
        module = plugin("library", "apt_keyring")
        with patch_module_args(params), pytest.raises(SystemExit):
            module.main()
        return json.loads(capfd.readouterr().out)

    return call


def test_writes_the_pinned_key_only(keys, keyfile, run, tmp_path):
    source = tmp_path / "both"
    source.write_bytes(keys.gpg.export(keys.rsa) + keys.gpg.export(keys.ed25519))
    result = run(path=str(keyfile), fingerprints=[keys.ed25519], src=str(source))
    assert result["changed"] is True
    assert keyfile.read_bytes() == keys.gpg.export(keys.ed25519)
    assert keyfile.stat().st_mode & 0o777 == 0o644


def test_needs_no_source_when_installed(keys, keyfile, run):
    keyfile.write_bytes(keys.gpg.export(keys.rsa))
    result = run(path=str(keyfile), fingerprints=[keys.rsa], url="http://192.0.2.1/never-asked")
    assert result["changed"] is False


def test_wrong_key_is_refused_and_nothing_written(keys, keyfile, run):
    armored = keys.gpg.export(keys.ed25519, armor=True).decode()
    result = run(path=str(keyfile), fingerprints=[keys.rsa], content=armored)
    assert result["failed"] is True
    for words in (keys.rsa[:4], keys.ed25519[:4], "expected", "found", "rocm_apt_key_fingerprint"):
        assert words in result["msg"]
    assert not keyfile.exists()


def test_check_mode_writes_nothing_and_shows_the_key(keys, keyfile, run):
    armored = keys.gpg.export(keys.rsa, armor=True).decode()
    result = run(
        path=str(keyfile), fingerprints=[keys.rsa], content=armored, _ansible_check_mode=True, _ansible_diff=True
    )
    assert result["changed"] is True and not keyfile.exists()
    assert keys.rsa[-4:] in result["diff"]["after"]


def test_expired_key_warns(keys, keyfile, run):
    armored = keys.gpg.export(keys.expired, armor=True).decode()
    result = run(path=str(keyfile), fingerprints=[keys.expired], content=armored)
    assert "expired on 2020-01-02" in json.dumps(result["warnings"])
    again = run(path=str(keyfile), fingerprints=[keys.expired], content=armored)
    assert again["changed"] is False and again["warnings"]


def test_no_network_names_the_way_out(keys, keyfile, run, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    result = run(path=str(keyfile), fingerprints=[keys.rsa], url="http://192.0.2.1/rocm.gpg.key", timeout=2)
    assert result["failed"] is True
    for words in ("http://192.0.2.1/rocm.gpg.key", "http://127.0.0.1:9", "rocm_apt_key_file"):
        assert words in result["msg"]


def test_other_keys_in_the_file_are_dropped(keys, keyfile, run):
    keyfile.write_bytes(keys.gpg.export(keys.rsa) + keys.gpg.export(keys.ed25519))
    result = run(path=str(keyfile), fingerprints=[keys.rsa], content=keys.gpg.export(keys.rsa, armor=True).decode())
    assert result["changed"] is True
    assert keyfile.read_bytes() == keys.gpg.export(keys.rsa)


def test_absent(keyfile, run):
    keyfile.write_bytes(b"x")
    assert run(path=str(keyfile), state="absent")["changed"] is True
    assert run(path=str(keyfile), state="absent")["changed"] is False
