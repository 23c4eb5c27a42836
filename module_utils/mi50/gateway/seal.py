"""An engine's key on its way from its node to the gateway: sealed, so that the controller carries what it cannot read.

The gateway has a pair (RSA, 3072 bits); a node encrypts with the public half (OAEP, SHA-256), by openssl, which both
have from the distribution. Keys go through pipes: they are in no argument, environment or temporary file.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from pathlib import Path

from ..serve.model import Node
from .model import PAIR, GatewayError

_OAEP = ("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256")
_LONGEST = 318  # bytes: 384 of the modulus, less two digests and two bytes (RFC 8017, 7.1.1)
_SECONDS = 60.0


def public(node: Node) -> str:
    """The public half, PEM; the pair is made when it is missing. Raises GatewayError, OSError."""
    path = node.path(PAIR)
    if not path.exists():
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = _openssl(node, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".gateway.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(made)
        Path(name).replace(path)
    return _openssl(node, "pkey", "-in", str(path), "-pubout").decode()


def seal(key: str, public_key: str, node: Node) -> str:
    """Encrypt a key for the gateway; base64. Raises GatewayError, OSError."""
    data = key.encode()
    if len(data) > _LONGEST:
        raise GatewayError(f"the key has {len(data)} bytes; {_LONGEST} can be sealed: take a shorter one")
    with tempfile.NamedTemporaryFile(prefix="mi50-gateway-", suffix=".pem") as public_file:
        public_file.write(public_key.encode())
        public_file.flush()
        return base64.b64encode(
            _openssl(node, "pkeyutl", "-encrypt", "-pubin", "-inkey", public_file.name, *_OAEP, data=data)
        ).decode()


def unseal(text: str, node: Node) -> str:
    """Decrypt what `seal` made. Raises GatewayError, OSError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GatewayError("a sealed key is no base64") from error
    return _openssl(node, "pkeyutl", "-decrypt", "-inkey", str(node.path(PAIR)), *_OAEP, data=data).decode()


def _openssl(node: Node, *arguments: str, data: bytes = b"") -> bytes:
    try:
        done = node.run(["openssl", *arguments], data, _SECONDS)
    except FileNotFoundError as error:
        raise GatewayError("openssl is missing: apt-get install openssl") from error
    if done.code:
        words = " ".join(done.errors.decode(errors="replace").split())[:300]
        raise GatewayError(f"openssl {arguments[0]} failed: {words}")
    return done.output
