"""Real OpenPGP keys, made by gpg at test time."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
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


@pytest.fixture
def repository(keys: Keys, tmp_path: Path) -> Path:
    """A flat file: repository signed by the rsa key, and an apt of its own that knows nothing else."""
    if not shutil.which("apt-get"):
        pytest.skip("apt-get exists on Debian and Ubuntu alone")
    dist = tmp_path / "repo/dists/jammy"
    (dist / "main/binary-amd64").mkdir(parents=True)
    packages = dist / "main/binary-amd64/Packages"
    packages.write_text(
        "Package: rocm\nVersion: 6.4.3.60403-128~22.04\nArchitecture: amd64\nFilename: x\nSize: 1\nSHA256: 0\n"
    )
    sign(keys, dist)
    root = tmp_path / "root"
    for name in ("etc/apt", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "key.gpg").write_bytes(keys.gpg.export(keys.rsa))
    return tmp_path


def sign(keys: Keys, dist: Path, name: str = "rsa") -> None:
    """Write InRelease for what is there."""
    packages = dist / "main/binary-amd64/Packages"
    digest = hashlib.sha256(packages.read_bytes()).hexdigest()
    release = dist / "Release"
    release.write_text(
        f"Origin: repo.radeon.com\nSuite: jammy\nCodename: jammy\nArchitectures: amd64\n"
        f"Components: main\nDate: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {digest} {packages.stat().st_size} main/binary-amd64/Packages\n"
    )
    key = getattr(keys, name)
    old = ["--faked-system-time", "20200101T010000"] if name == "expired" else []
    keys.gpg.run(*old, "--local-user", key, "--clear-sign", "--output", str(dist / "InRelease"), str(release))
    release.unlink()


def own_apt(root: Path) -> list[str]:
    """Options that give apt a state and a cache of its own below `root`."""
    settings = {
        "Dir::State": f"{root}/var/lib/apt",
        "Dir::State::status": f"{root}/var/lib/dpkg/status",
        "Dir::Cache": f"{root}/var/cache/apt",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "0",
        "APT::Architecture": "amd64",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
