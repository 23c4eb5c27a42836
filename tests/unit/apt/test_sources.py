"""Refreshing one source: real apt-get against a real signed repository on disk, good and broken."""

from __future__ import annotations

import subprocess

import pytest
from mi50.apt import sources

from tests.unit.apt.conftest import own_apt, sign


def update(base, uri=None, **proxies):
    """Run what the module runs; return output and exit code."""
    root = base / "root"
    source = root / "etc/apt/mi50-rocm.sources"
    source.write_text(
        f"Types: deb\nURIs: {uri or f'file:{base}/repo'}\nSuites: jammy\nComponents: main\n"
        f"Architectures: amd64\nSigned-By: {root}/key.gpg\n"
    )
    command = ["apt-get", "update", "-q", "-o", f"Dir::Etc::sourcelist={source}", *sources.OPTIONS, *own_apt(root)]
    # Only what is asked for: the machine's own proxy would answer in its place.
    clean = ["-o", "Acquire::http::Proxy=" + proxies.get("http_proxy", "DIRECT")]
    done = subprocess.run(
        [*command, *clean],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "LC_ALL": "C"},
    )
    return done.returncode, done.stdout + done.stderr, str(source), sources.read_sources(source.read_text())


def failure(base, uri=None, **proxies):
    code, output, path, found = update(base, uri, **proxies)
    assert code != 0, output
    error = sources.error(output, path, found, proxies)
    assert path in str(error) and found[0].uri in str(error)
    return error.kind, str(error)


def test_good_repository(repository):
    code, output, _, found = update(repository)
    assert code == 0, output
    lists = repository / "root/var/lib/apt/lists"
    # apt itself names the files; our idea of the name must find them.
    assert (lists / f"{found[0].list_prefix}InRelease").exists()


def test_tampered_index(repository):
    packages = repository / "repo/dists/jammy/main/binary-amd64/Packages"
    packages.write_text(packages.read_text().replace("6.4.3", "6.6.6"))
    assert failure(repository)[0] == "tampered"


def test_changed_after_signing(repository):
    signed = repository / "repo/dists/jammy/InRelease"
    signed.write_text(signed.read_text().replace("Suite: jammy", "Suite: jammx"))
    kind, text = failure(repository)
    assert kind == "bad-signature", text


def test_unsigned(repository):
    dist = repository / "repo/dists/jammy"
    text = (dist / "InRelease").read_text().split("\n\n", 1)[1].split("-----BEGIN PGP SIGNATURE-----")[0]
    (dist / "InRelease").unlink()
    (dist / "Release").write_text(text)
    kind, text = failure(repository)
    assert kind == "unsigned", text


def test_signed_by_a_stranger(repository, keys):
    sign(keys, repository / "repo/dists/jammy", "ed25519")
    kind, text = failure(repository)
    assert kind == "wrong-key" and "rocm_apt_key_fingerprint" in text


def test_expired_key(repository, keys):
    sign(keys, repository / "repo/dists/jammy", "expired")
    (repository / "root/key.gpg").write_bytes(keys.gpg.export(keys.expired))
    kind, text = failure(repository)
    assert kind == "expired-key" and "rocm_apt_key_file" in text


def test_no_such_repository(repository):
    assert failure(repository, f"file:{repository}/elsewhere")[0] == "missing"


def test_unreachable(repository):
    kind, text = failure(repository, "http://127.0.0.1:9/rocm")
    assert kind == "unreachable" and "mi50_url_radeon" in text


def test_broken_proxy(repository):
    kind, text = failure(repository, "http://archive.invalid/rocm", http_proxy="http://127.0.0.1:9")
    assert kind == "proxy" and "mi50_http_proxy" in text and "http://127.0.0.1:9" in text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Err:1 http://x jammy InRelease\n  407  Proxy Authentication Required [IP: 10.0.0.1 3128]", "proxy"),
        ("E: Release file for http://x/InRelease is expired (invalid since 3d)", "expired-release"),
        (
            "Err:1 https://x jammy InRelease\n  Certificate verification failed: The certificate is NOT trusted.",
            "certificate",
        ),
        ("Err:1 http://x jammy InRelease\n  Temporary failure resolving 'x'", "unreachable"),
        # Said by apt 2.6 when /tmp was full: it gives the repository the blame, which has none.
        (
            "Err:1 http://x jammy InRelease\n  Could not execute 'apt-key' to verify signature (is gnupg installed?)\n"
            "E: The repository 'http://x jammy InRelease' is not signed.",
            "no-verifier",
        ),
        ("E: something new", "other"),
    ],
)
def test_kinds_by_apts_words(line, kind):
    assert sources.classify(line, {}) == kind


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("https://repo.radeon.com/rocm/apt/6.4.3", "repo.radeon.com_rocm_apt_6.4.3_dists_jammy_"),
        ("http://172.18.0.2/radeon/rocm/apt/6.4.3/", "172.18.0.2_radeon_rocm_apt_6.4.3_dists_jammy_"),
        ("http://host:8080/a_b", "host:8080_a%5fb_dists_jammy_"),
        ("file:///srv/x", "_srv_x_dists_jammy_"),
    ],
)
def test_list_names(uri, prefix):
    assert sources.Source(uri, "jammy", ()).list_prefix == prefix


def test_disabled_stanzas_do_not_count():
    text = "Types: deb\nURIs: http://a\nSuites: jammy\n\nEnabled: no\nURIs: http://b\nSuites: jammy\n"
    assert [item.uri for item in sources.read_sources(text)] == ["http://a"]


def test_why_refresh(tmp_path):
    found = [sources.Source("http://a", "jammy", ())]
    lists = tmp_path / sources.LISTS
    lists.mkdir(parents=True)
    stamp = tmp_path / "stamp"

    def why(value="v", now=1000.0):
        return sources.why_refresh(stamp, value, found, root=tmp_path, valid_seconds=60, now=now)

    assert "no package list" in why()
    (lists / "a_dists_jammy_InRelease").touch()
    assert "never" in why()
    stamp.write_text('{"digest": "v", "refreshed": 990}')
    assert why() is None
    assert "changed" in why(value="w")
    assert "older" in why(now=2000.0)
    assert "older" in why(now=10.0), "a clock set back"
    stamp.write_text("[]")
    assert "never" in why()
