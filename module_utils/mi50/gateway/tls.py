"""The certificate: readable, of its key, not expired. Its files stay where they are; HAProxy gets both in one."""

from __future__ import annotations

import re
import subprocess

from ..serve.model import Node
from .model import Settings

_SECONDS = 30.0
_SOON = 14 * 86400  # seconds before the end from which it is worth a warning


def problems(settings: Settings, node: Node) -> tuple[list[str], list[str]]:
    """What is wrong, and what will be soon. Raises nothing."""
    certificate, key = settings.certificate, settings.certificate_key
    if not certificate and not key:
        return [], []
    if not certificate or not key:
        return ["gateway_tls_certificate and gateway_tls_key belong together: give both, or neither"], []
    found = [
        text for name, path in (("gateway_tls_certificate", certificate), ("gateway_tls_key", key))
        if (text := _unreadable(name, path, node))
    ]  # fmt: skip
    if found:
        return found, []
    end = _ask(node, "x509", "-in", certificate, "-noout", "-enddate")
    own = _ask(node, "x509", "-in", certificate, "-noout", "-pubkey")
    other = _ask(node, "pkey", "-in", key, "-passin", "pass:", "-pubout")
    if not end or not own:
        found.append(f"gateway_tls_certificate: {certificate} holds no certificate (PEM, the host's own first)")
    if not other:
        found.append(f"gateway_tls_key: {key} holds no private key without a passphrase (PEM)")
    if own and other and own.split() != other.split():
        found.append(f"gateway_tls_key: {key} is not the key of {certificate}")
    if end and _ask(node, "x509", "-in", certificate, "-noout", "-checkend", "0") is None:
        found.append(f"gateway_tls_certificate: {certificate} has expired ({_date(end)}): renew it")
    elif end and _ask(node, "x509", "-in", certificate, "-noout", "-checkend", str(_SOON)) is None:
        return found, [f"{certificate} expires soon ({_date(end)})"]
    return found, []


def joined(settings: Settings, node: Node) -> str:
    """Certificate, chain and key in one text, as HAProxy's `crt` takes them. Raises OSError."""
    parts = [node.path(path).read_text(encoding="utf-8") for path in (settings.certificate, settings.certificate_key)]
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def _unreadable(name: str, path: str, node: Node) -> str:
    try:
        node.path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        return f"{name}: {path} cannot be read on the gateway's host ({why}): give the path of a PEM file there"
    return ""


def _ask(node: Node, *arguments: str) -> str | None:
    """What openssl says; None when it says no. Paths among the arguments are the node's."""
    words = [str(node.path(word)) if word.startswith("/") else word for word in arguments]
    try:
        done = node.run(["openssl", *words], b"", _SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.output.decode(errors="replace") if done.code == 0 else None


def _date(text: str) -> str:
    return re.sub(r"^notAfter=", "", text.strip())
