"""Real OpenPGP keys, made by gpg at test time."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Gpg:
    """A GnuPG home. Its path is short, because gpg's sockets live in it."""

    home: str

    def run(self, *args: str, data: bytes = b"") -> bytes:
        base = ["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback"]
        return subprocess.run([*base, "--passphrase", "", *args], check=True, input=data, capture_output=True).stdout

    def fingerprints(self, uid: str) -> list[str]:
        listing = self.run("--with-colons", "--list-keys", uid).decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]

    def make(self, uid: str, algorithm: str, expires: str = "never", *options: str, subkey: str = "") -> str:
        self.run(*options, "--quick-generate-key", uid, algorithm, "sign,cert" if not subkey else "cert", expires)
        found = self.fingerprints(uid)[0]
        if subkey:
            self.run("--quick-add-key", found, algorithm, "sign", subkey)
        return found

    def export(self, uid: str, *, armor: bool = False) -> bytes:
        return self.run(*(["--armor"] if armor else []), "--export", uid)


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    assert shutil.which("gpg"), "these tests need gpg (script/test installs gnupg)"
    home = tempfile.mkdtemp(prefix="mi50gpg-")
    try:
        yield Gpg(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Keys:
    """Fingerprints by use."""

    gpg: Gpg
    rsa: str
    ed25519: str
    expired: str
    subkeyed: str


@pytest.fixture(scope="session")
def keys(gpg: Gpg) -> Keys:
    return Keys(
        gpg,
        rsa=gpg.make("rsa@t.invalid", "rsa2048"),
        ed25519=gpg.make("ed@t.invalid", "ed25519", "2y"),
        expired=gpg.make("old@t.invalid", "ed25519", "1d", "--faked-system-time", "20200101T000000"),
        subkeyed=gpg.make("sub@t.invalid", "ed25519", "never", subkey="1y"),
    )


@pytest.fixture
def keyfile(tmp_path: Path) -> Path:
    return tmp_path / "keyring.gpg"
