"""Detached signatures with a real gpg and a real gpgv."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mi50.rocblas.errors import RocblasError, SourceRejected
from mi50.rocblas.signature import binary, judge

from tests.unit.rocblas.conftest import Runner


class Keys(NamedTuple):
    home: Path
    keyring: Path
    fingerprint: str


def gpg(home: Path, *words: str) -> bytes:
    argv = [
        "gpg",
        "--homedir",
        str(home),
        "--batch",
        "--quiet",
        "--no-tty",
        "--passphrase",
        "",
        "--pinentry-mode",
        "loopback",
    ]
    return subprocess.run([*argv, *words], capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    # Not below tmp_path: the agent's socket has a short limit on its path.
    with tempfile.TemporaryDirectory(prefix="g") as folder:
        home = Path(folder)
        gpg(home, "--quick-gen-key", "Packager <p@example.invalid>", "ed25519", "sign", "never")
        listing = gpg(home, "--list-keys", "--with-colons").decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        (home / "arch.gpg").write_bytes(gpg(home, "--export"))
        yield Keys(home, home / "arch.gpg", fingerprint)
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False)


def sign(keys: Keys, path: Path) -> Path:
    gpg(keys.home, "--yes", "--detach-sign", "--output", f"{path}.sig", str(path))
    return Path(f"{path}.sig")


def test_a_good_signature(patch: Runner, package: Path, keys: Keys) -> None:
    outcome = patch(signature=str(sign(keys, package)), keyring=str(keys.keyring))
    assert outcome["source"]["signed_by"] == keys.fingerprint
    assert not outcome["warnings"]
    assert not patch(signature=str(sign(keys, package)), keyring=str(keys.keyring))["changed"]


def test_an_armored_keyring_as_debian_ships_it(patch: Runner, package: Path, keys: Keys, tmp_path: Path) -> None:
    """archlinux.gpg of Debian 12 is ASCII armor, which gpgv does not read."""
    armored = tmp_path / "archlinux.gpg"
    armored.write_bytes(gpg(keys.home, "--armor", "--export"))
    assert armored.read_bytes().startswith(b"-----BEGIN PGP")
    before = set(Path(tempfile.gettempdir()).glob("mi50-keyring-*"))
    outcome = patch(signature=str(sign(keys, package)), keyring=str(armored))
    assert outcome["changed"]
    assert set(Path(tempfile.gettempdir()).glob("mi50-keyring-*")) <= before
    armored.write_bytes(armored.read_bytes()[:200])
    with pytest.raises(RocblasError, match="install archlinux-keyring anew"):
        binary(armored)


def test_an_unsigned_installation_is_checked_once_a_signature_is_asked_for(
    patch: Runner, package: Path, keys: Keys
) -> None:
    patch()
    sig = sign(keys, package)
    sig.write_bytes(b"")
    with pytest.raises(RocblasError, match="not a usable detached signature"):
        patch(signature=str(sig), keyring=str(keys.keyring))


@pytest.mark.parametrize(
    "case", ["other file", "unknown key", "no signature", "no keyring", "revoked", "garbage", "no gpgv"]
)
def test_refused(
    patch: Runner, library: Path, package: Path, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    sig, keyring, words = sign(keys, package), tmp_path / "k.gpg", "does not fit the file"
    keyring.write_bytes(keys.keyring.read_bytes())
    if case == "other file":
        sig = sign(keys, keyring)
    elif case == "unknown key":
        keyring.write_bytes(b"")
        words = "does not hold the key|not a usable"
    elif case == "no signature":
        sig, words = tmp_path / "nothing.sig", "no such signature file"
    elif case == "no keyring":
        keyring, words = tmp_path / "nothing.gpg", "install the package archlinux-keyring"
    elif case == "revoked":
        (tmp_path / "k-revoked").write_text(f"{keys.fingerprint}\n")
        words = "no longer trusts"
    elif case == "garbage":
        sig.write_bytes(b"garbage")
        words = "not a usable detached signature"
    else:
        monkeypatch.setenv("PATH", "/nonexistent")
        words = "install the package gpgv"
    with pytest.raises(RocblasError, match=words) as caught:
        patch(signature=str(sig), keyring=str(keyring))
    if case != "unknown key":  # gpgv has no word of its own for an empty keyring
        assert isinstance(caught.value, SourceRejected) == (case in ("other file", "garbage"))
    assert not list(library.glob("*gfx906*"))


VALID = ["VALIDSIG", "A" * 40, "2025-08-07", "1000", "0", "4", "0", "22", "10", "00", "B" * 40]


def test_a_key_that_expired_after_it_signed_is_taken_with_a_word() -> None:
    lines = [["KEYEXPIRED", "2000"], ["EXPKEYSIG", "x"], VALID]
    verdict = judge(lines, "x.sig", Path("/nonexistent/k.gpg"))
    assert verdict.fingerprint == "B" * 40
    assert "newer archlinux-keyring" in verdict.warning


@pytest.mark.parametrize(
    "lines",
    [
        [["KEYEXPIRED", "500"], ["EXPKEYSIG", "x"], VALID],
        [["EXPKEYSIG", "x"], VALID],
        [["REVKEYSIG", "x"], VALID],
        [["BADSIG", "x"]],
        [["GOODSIG", "x"]],
        [VALID],
        [],
    ],
)
def test_everything_else_is_refused(lines: list[list[str]]) -> None:
    with pytest.raises(RocblasError):
        judge(lines, "x.sig", Path("/nonexistent/k.gpg"))
