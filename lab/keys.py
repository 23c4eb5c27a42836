"""The lab's keys: made once per cache, private there, never in a checkout.

AMD's key is a primary key with a signing subkey, and users pin the primary's fingerprint: so have the lab's keys.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import cache
from lab.console import run
from lab.settings import Settings

UIDS = {
    "rocm": "mi50-aipc lab (stand-in for AMD's release key) <rocm@lab.invalid>",
    "packager": "mi50-aipc lab (stand-in for an Arch packager) <packager@lab.invalid>",
    "distribution": "mi50-aipc lab (stand-in for a distribution) <distribution@lab.invalid>",
    "stranger": "mi50-aipc lab (a key nobody trusts) <stranger@lab.invalid>",
}


@contextmanager
def _home() -> Iterator[list[str]]:
    """A GnuPG home with a path short enough for its sockets; its agent ends with it."""
    folder = tempfile.mkdtemp(prefix="mi50gpg-")
    try:
        yield [
            "gpg",
            "--homedir",
            folder,
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]
    finally:
        run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _fingerprint(listing: str) -> str:
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))


def _make(name: str, target: Path) -> None:
    target.mkdir(mode=0o755)
    with _home() as gpg:
        run([*gpg, "--quick-generate-key", UIDS[name], "rsa2048", "cert", "never"])
        found = _fingerprint(run([*gpg, "--with-colons", "--list-keys"]).stdout)
        run([*gpg, "--quick-add-key", found, "rsa2048", "sign", "never"])
        run([*gpg, "--output", str(target / "secret.gpg"), "--export-secret-keys", found])
        run([*gpg, "--output", str(target / "public.gpg"), "--export", found])
        run([*gpg, "--armor", "--output", str(target / "public.asc"), "--export", found])
    (target / "secret.gpg").chmod(0o600)
    (target / "fingerprint").write_text(found + "\n")


def openpgp(settings: Settings, name: str) -> Path:
    """The folder of one key: secret.gpg, public.gpg, public.asc, fingerprint."""
    settings.keys.mkdir(parents=True, exist_ok=True)
    return cache.build(settings.keys, name, lambda target: _make(name, target))


def fingerprint(settings: Settings, name: str) -> str:
    """The primary key's fingerprint: 40 hex digits."""
    return (openpgp(settings, name) / "fingerprint").read_text().strip()


def sign(settings: Settings, name: str, path: Path, *, output: Path, mode: str = "--detach-sign") -> None:
    """Sign a file: `--detach-sign` (binary), or `--clear-sign` for an InRelease."""
    with _home() as gpg:
        run([*gpg, "--import", str(openpgp(settings, name) / "secret.gpg")])
        run([*gpg, "--digest-algo", "SHA512", "--output", str(output), mode, str(path)])


def ssh(settings: Settings, name: str) -> Path:
    """An ed25519 key pair for SSH: the private half's path (the login key, or one node's host key)."""
    folder = settings.keys / "ssh"

    def make(target: Path) -> None:
        target.mkdir(mode=0o755)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"mi50-lab {name}", "-f", str(target / "key")])

    return cache.build(folder, name, make) / "key"
