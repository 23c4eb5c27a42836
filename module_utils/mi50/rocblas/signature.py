"""Detached OpenPGP signatures through gpgv: trusted is the keyring that was named, nothing from a home directory."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from .. import process
from ..apt import openpgp
from .errors import RocblasError, SourceRejected

STATUS = "[GNUPG:] "
# VALIDSIG <fingerprint> <date> <timestamp> <expires> … <primary fingerprint>; doc/DETAILS of GnuPG.
TIMESTAMP, PRIMARY, VALIDSIG_FIELDS = 2, 9, 10
REFUSED = {
    "BADSIG": "the signature does not fit the file: one of them was changed or they do not belong together",
    "REVKEYSIG": "the key was revoked",
    "EXPSIG": "the signature has expired",
    "NO_PUBKEY": "the keyring does not hold the key",
}


class Verdict(NamedTuple):
    """Who signed; `warning` is text for the user or empty."""

    fingerprint: str
    warning: str


class Verifier:
    """A gpgv that reads the signed data from `stdin` (a pipe end the feed takes over)."""

    def __init__(self, signature: str, keyring: str) -> None:
        """Start gpgv; RocblasError when it, the signature or the keyring is missing."""
        tool = shutil.which("gpgv")
        if tool is None:
            raise RocblasError(f"{signature}: gpgv is needed to check it; install the package gpgv.")
        if not Path(signature).is_file():
            raise RocblasError(
                f"{signature}: no such signature file; fetch it from beside the package (<package>.sig)."
            )
        if not Path(keyring).is_file():
            raise RocblasError(
                f"{keyring}: no such keyring; install the package archlinux-keyring or name another one."
            )
        self._signature, self._keyring = signature, Path(keyring).resolve()
        self._scratch, usable = binary(self._keyring)
        # --output would not help: what counts is the status lines, in C locale and machine-readable.
        argv = [tool, "--keyring", usable, "--status-fd", "1", "--", str(Path(signature).resolve()), "-"]
        read_end, self.stdin = os.pipe()
        environment = {**os.environ, "LC_ALL": "C"}
        self._process = process.start(
            argv, stdin=read_end, stdout=process.PIPE, stderr=process.DISCARD, environment=environment
        )
        os.close(read_end)
        self._output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            self._output = self._process.stdout.read()

    def finish(self) -> Verdict:
        """Wait for the verdict; RocblasError unless a key of the keyring made the signature."""
        self._process.wait()
        self._reader.join()
        self._drop()
        lines = [line[len(STATUS) :].split() for line in self._output.decode("utf-8", "replace").splitlines()]
        return judge([line for line in lines if line], self._signature, self._keyring)

    def close(self) -> None:
        """Stop gpgv; safe after finish()."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._drop()

    def _drop(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def binary(keyring: Path) -> tuple[tempfile.TemporaryDirectory[str] | None, str]:
    """Return a keyring in the form that gpgv reads, and the folder that holds it when one had to be made.

    Debian 12's archlinux-keyring (0~20231113) ships ASCII armor under the name archlinux.gpg, which gpgv cannot read.
    Raises RocblasError for a file that holds no keys.
    """
    with keyring.open("rb") as stream:
        if not stream.read(64).lstrip().startswith(b"-----BEGIN"):
            return None, str(keyring)
    try:
        data = openpgp.dearmor(keyring.read_bytes())
    except openpgp.KeyDataError as error:
        raise RocblasError(f"{keyring}: {error}; install archlinux-keyring anew, or name another keyring.") from None
    scratch = tempfile.TemporaryDirectory(prefix="mi50-keyring-")
    path = Path(scratch.name) / "keyring.gpg"
    path.write_bytes(data)
    return scratch, str(path)


def judge(lines: list[list[str]], signature: str, keyring: Path) -> Verdict:
    """Decide on gpgv's status lines (words after the prefix)."""
    words = {line[0]: line for line in lines}
    for word, reason in REFUSED.items():
        if word in words:
            key = words[word][1] if len(words[word]) > 1 else "?"
            # Only here are the files at fault; with a newer keyring, the same files may pass.
            raise (SourceRejected if word == "BADSIG" else RocblasError)(
                f"{signature}: refused, {reason} (key {key}, keyring {keyring}). Fetch package and signature again "
                "from one place; if the key is new, a newer archlinux-keyring may hold it."
            )
    valid = next((line[1:] for line in lines if line[0] == "VALIDSIG"), None)
    if valid is None or len(valid) < VALIDSIG_FIELDS or not {"GOODSIG", "EXPKEYSIG"} & set(words):
        raise SourceRejected(f"{signature}: not a usable detached signature, or {keyring} not a binary keyring.")
    fingerprint = valid[PRIMARY]
    if {fingerprint, valid[0]} & _revoked(keyring):
        raise RocblasError(f"{signature}: refused, the distribution no longer trusts key {fingerprint} ({keyring}).")
    warning = _expiry(lines, int(valid[TIMESTAMP]), fingerprint, signature, keyring) if "EXPKEYSIG" in words else ""
    return Verdict(fingerprint, warning)


def _expiry(lines: list[list[str]], signed: int, fingerprint: str, signature: str, keyring: Path) -> str:
    """Debian 12's keyring is of 2023 and packagers extend their keys: a signature made in the key's time stands."""
    ends = [int(line[1]) for line in lines if line[0] == "KEYEXPIRED" and len(line) > 1 and line[1].isdigit()]
    if not ends or signed > max(ends):
        raise RocblasError(
            f"{signature}: refused, key {fingerprint} had expired when it signed, as far as {keyring} knows. "
            "Install a newer archlinux-keyring."
        )
    return f"key {fingerprint} has expired in {keyring}, after it made this signature; a newer archlinux-keyring exists"


def _revoked(keyring: Path) -> set[str]:
    """Fingerprints in `<keyring>-revoked`, the list that archlinux-keyring ships beside its keys."""
    listing = keyring.with_name(keyring.stem + "-revoked")
    try:
        return set(listing.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()
