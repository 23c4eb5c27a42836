"""A secret on its way from one host to another, sealed: the controller carries what it cannot read.

The host that is to have it holds a pair (RSA, 3072 bits); the other encrypts with the public half (OAEP, SHA-256). Both
by openssl, from the distribution. Secrets go through pipes: they are in no argument, environment or temporary file.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .process import Finished

_OAEP = ("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256")
_LONGEST = 318  # bytes: 384 of the modulus, less two digests and two bytes (RFC 8017, 7.1.1)
_SECONDS = 60.0


class SealError(Exception):
    """A secret that cannot be sealed or opened; the text says why and never holds it."""


class Runner(Protocol):
    """Starts a program, as `mi50.process.run` does."""

    def __call__(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        """Return what it said. Raises OSError when it cannot be started, subprocess.TimeoutExpired."""


def public(pair: Path, run: Runner) -> str:
    """The public half, PEM; the pair is made (0600) when it is missing. Raises SealError, OSError."""
    if not pair.exists():
        pair.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = _openssl(run, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072")
        handle, name = tempfile.mkstemp(dir=pair.parent, prefix=f".{pair.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(made)
        Path(name).replace(pair)
    return _openssl(run, "pkey", "-in", str(pair), "-pubout").decode()


def seal(text: str, public_key: str, run: Runner) -> str:
    """Encrypt a text of up to 318 bytes for the holder of the pair; base64. Raises SealError, OSError."""
    data = text.encode()
    if len(data) > _LONGEST:
        raise SealError(f"the key has {len(data)} bytes; {_LONGEST} can be sealed: take a shorter one")
    with tempfile.NamedTemporaryFile(prefix="mi50-seal-", suffix=".pem") as public_file:
        public_file.write(public_key.encode())
        public_file.flush()
        return base64.b64encode(
            _openssl(run, "pkeyutl", "-encrypt", "-pubin", "-inkey", public_file.name, *_OAEP, data=data)
        ).decode()


def unseal(text: str, pair: Path, run: Runner) -> str:
    """Decrypt what `seal` made. Raises SealError, OSError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealError("a sealed key is no base64") from error
    return _openssl(run, "pkeyutl", "-decrypt", "-inkey", str(pair), *_OAEP, data=data).decode()


def _openssl(run: Runner, *arguments: str, data: bytes = b"") -> bytes:
    try:
        done = run(["openssl", *arguments], data, _SECONDS)
    except FileNotFoundError as error:
        raise SealError("openssl is missing: apt-get install openssl") from error
    except subprocess.TimeoutExpired as error:
        raise SealError(f"openssl {arguments[0]} did not end in {_SECONDS:.0f} s") from error
    if done.code:
        words = " ".join(done.errors.decode(errors="replace").split())[:300]
        raise SealError(f"openssl {arguments[0]} failed: {words}")
    return done.output
