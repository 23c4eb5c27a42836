"""The module apt_source with real gpg keys, a real signed repository and real apt-get."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from mi50.apt import sources, state

from tests.unit.apt.conftest import own_apt, sign


@pytest.fixture
def run(plugin, capfd, monkeypatch, repository, keys):
    """Run the module with good arguments (or others); apt's state and everything written are below the repository."""
    module = plugin("library", "apt_source")
    root = repository / "root"
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module.sources, "OPTIONS", (*module.sources.OPTIONS, *own_apt(root)))

    def call(**params):
        given = {
            "path": str(root / "etc/apt/sources.list.d/mi50-rocm.sources"),
            "uri": f"file:{repository}/repo",
            "suite": "jammy",
            "keyring": str(root / "etc/apt/keyrings/rocm.gpg"),
            "fingerprints": [keys.rsa],
            "build": "60403",
            "stamp_dir": str(root / "stamps"),
            "files": [{"path": str(root / "etc/apt/preferences.d/pin"), "content": "Package: *\n"}],
        }
        if "key_url" not in params:
            given["key_content"] = keys.gpg.export(keys.rsa, armor=True).decode()
        with patch_module_args({**given, **params}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capfd.readouterr().out)

    return call


@pytest.fixture
def written(repository):
    """Everything below /etc of the node: path to content and the time of the last write."""
    etc = repository / "root/etc"
    return lambda: {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in etc.rglob("*") if path.is_file()}


def test_writes_once_proven_and_settles(run, written, repository, keys):
    result = run()
    assert result["changed"] is True and result["refreshed"] is True, result
    names = [path.rsplit("/", 1)[1] for path in result["changed_paths"]]
    assert names == ["rocm.gpg", "pin", "mi50-rocm.sources"], "the source comes last"
    ring = repository / "root/etc/apt/keyrings/rocm.gpg"
    assert ring.read_bytes() == keys.gpg.export(keys.rsa) and ring.stat().st_mode & 0o777 == 0o644
    source = (repository / "root/etc/apt/sources.list.d/mi50-rocm.sources").read_text()
    assert f"Signed-By: {ring}\n" in source
    before = written()
    again = run(key_url="http://192.0.2.1/never-asked")
    assert (again["changed"], again["refreshed"], again["reason"]) == (False, False, "")
    assert written() == before
    assert [path.name for path in (repository / "root/stamps").iterdir()] == ["mi50-rocm.refreshed.json"]


def test_settled_tells_without_writing_or_network(run, written, repository, keys):
    """The same comparison serves rocm_info, which lets a node that lacks nothing go without this module."""
    root = repository / "root"
    wanted = state.settings(
        {
            "path": root / "etc/apt/sources.list.d/mi50-rocm.sources",
            "uri": f"file:{repository}/repo",
            "suite": "jammy",
            "components": ["main"],
            "architectures": ["amd64"],
            "keyring": root / "etc/apt/keyrings/rocm.gpg",
            "fingerprints": [keys.rsa],
            "files": [{"path": root / "etc/apt/preferences.d/pin", "content": "Package: *\n"}],
            "build": "60403",
            "cache_valid_time": 86400,
            "stamp_dir": root / "stamps",
        }
    )

    def settled(now=None, **changes):
        return state.settled(dataclasses.replace(wanted, **changes), root=root, now=now or time.time())

    assert not settled(), "nothing is there yet"
    assert run()["changed"] is True
    (root / "var/lib/dpkg").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").touch()
    before = written()
    assert settled()
    assert not settled(now=time.time() + 100_000), "old lists"
    assert not settled(fingerprints=["0" * 40]), "another key"
    assert not settled(fingerprints=["no fingerprint"])
    (root / "etc/apt/preferences.d/pin").write_text("somebody's\n")
    assert not settled(), "an edited pin"
    assert set(written()) == set(before)


def test_check_mode_writes_nothing_and_shows_it(run, written, keys, repository):
    result = run(_ansible_check_mode=True)
    assert result["changed"] is True and written() == {} and result["reason"]
    assert keys.rsa[-4:] in result["diff"][0]["after"] and len(result["diff"]) == 3
    assert not (repository / "root/stamps").exists()


@pytest.mark.parametrize("converged", [False, True], ids=["fresh", "converged"])
@pytest.mark.parametrize("case", ["url", "stranger", "fingerprint", "tampered"])
def test_a_refused_repository_changes_nothing(run, written, repository, keys, converged, case):
    if converged:
        assert run()["changed"] is True
    before = written()
    dist = repository / "repo/dists/jammy"
    if case == "stranger":
        sign(keys, dist, "ed25519")
    elif case == "tampered":
        # A new index first: with the old one apt would rightly keep the lists it has.
        (dist / "main/binary-amd64/Packages").write_text("Package: rocm\nVersion: 2\n")
        sign(keys, dist)
        (dist / "main/binary-amd64/Packages").write_text("Package: evil\nVersion: 1\n")
    arguments = {
        "url": {"uri": f"file:{repository}/elsewhere"},
        "fingerprint": {"fingerprints": [keys.ed25519]},
    }.get(case, {"cache_valid_time": -1})
    result = run(**arguments)
    assert result.get("failed") is True, result
    assert written() == before
    assert "candidate-" not in result["msg"], "names a file that is gone by now"
    if case != "fingerprint":
        assert "mi50-rocm.sources" in result["msg"]


def test_an_edited_source_is_put_back(run, repository):
    run()
    source = repository / "root/etc/apt/sources.list.d/mi50-rocm.sources"
    good = source.read_text()
    source.write_text(good.replace("jammy", "other"))
    assert run()["changed_paths"] == [str(source)] and source.read_text() == good


def test_a_keyring_that_apt_cannot_read_is_mended(run, repository):
    run()
    ring = repository / "root/etc/apt/keyrings/rocm.gpg"
    ring.chmod(0o600)
    assert run()["changed_paths"] == [str(ring)] and ring.stat().st_mode & 0o777 == 0o644


def test_wrong_key_names_both_and_the_way_out(run, keys):
    result = run(fingerprints=[keys.ed25519])
    for words in (keys.rsa[:4], keys.ed25519[:4], "expected", "found", "rocm_apt_key_fingerprint"):
        assert words in result["msg"]


def test_other_keys_are_dropped(run, repository, keys):
    ring = repository / "root/etc/apt/keyrings/rocm.gpg"
    ring.parent.mkdir(parents=True)
    ring.write_bytes(keys.gpg.export(keys.rsa) + keys.gpg.export(keys.ed25519))
    both = (keys.gpg.export(keys.rsa, armor=True) + keys.gpg.export(keys.ed25519, armor=True)).decode()
    assert run(key_content=both)["changed"] is True
    assert ring.read_bytes() == keys.gpg.export(keys.rsa)


def test_expired_key_warns_and_is_refused(run, written, repository, keys, monkeypatch):
    # Not from the result: once a test in this process has loaded Ansible's controller, core prints warnings instead.
    warned = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, text, **_more: warned.append(text))
    sign(keys, repository / "repo/dists/jammy", "expired")
    armored = keys.gpg.export(keys.expired, armor=True).decode()
    result = run(fingerprints=[keys.expired], key_content=armored)
    assert any("expired on 2020-01-02" in text for text in warned)
    assert result["failed"] is True and result["kind"] == "expired-key" and written() == {}


def test_no_network_names_the_way_out(run, keys, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    result = run(key_url="http://192.0.2.1/rocm.gpg.key", timeout=2)
    assert result["failed"] is True
    for words in ("http://192.0.2.1/rocm.gpg.key", "http://127.0.0.1:9", "rocm_apt_key_file"):
        assert words in result["msg"]


@pytest.mark.parametrize(("status", "passing"), [(-1, True), (503, True), (429, True), (404, False), (403, False)])
def test_a_key_that_may_be_had_later(run, plugin, monkeypatch, status, passing):
    monkeypatch.setattr(
        plugin("library", "apt_source"), "fetch_url", lambda *_, **__: (None, {"status": status, "msg": "x"})
    )
    result = run(key_url="http://mirror.example/rocm.gpg.key")
    assert result["failed"] is True and result["passing"] is passing, result


def test_lists_that_may_be_had_later(run, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    away = run(uri="http://127.0.0.1:9/radeon")
    assert away["failed"] is True and (away["kind"], away["passing"]) == ("unreachable", True), away
    gone = run(uri="file:/nowhere")
    assert gone["failed"] is True and gone["passing"] is False, gone


def test_foreign_packages_are_named(run, repository):
    run()
    status = repository / "root/var/lib/dpkg/status"
    status.write_text("Package: rocm\nStatus: install ok installed\nVersion: 99.0-1\n\n")
    # apt reads the index of a file: repository where it is; others leave a copy in the lists.
    prefix = sources.Source(f"file:{repository}/repo", "jammy", ()).list_prefix
    index = repository / "repo/dists/jammy/main/binary-amd64/Packages"
    (repository / f"root/var/lib/apt/lists/{prefix}main_binary-amd64_Packages").write_bytes(index.read_bytes())
    assert run()["foreign"] == ["rocm=6.4.3.60403-128~22.04"]


def test_apts_words_about_the_candidate_name_the_final_file(run, repository):
    result = run(components=[])
    assert result["failed"] is True and "Malformed" in result["msg"]
    assert "candidate-" not in result["msg"] and "etc/apt/sources.list.d/mi50-rocm.sources" in result["msg"]
