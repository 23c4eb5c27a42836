"""Where something listens and how that is written: one reading of `bind` for every service. Pure.

Without the module ipaddress, whose import costs each look at a node 3 ms.
"""

from __future__ import annotations

import socket

LOCAL = "127.0.0.1"
_LOOPBACK6 = b"\0" * 15 + b"\1"
_MAPPED = b"\0" * 10 + b"\xff\xff"  # RFC 4291, 2.5.5.2: an IPv4 address in IPv6's clothes


def loopback(bind: str) -> bool:
    """Whether only the machine itself reaches what listens on `bind`."""
    address = _bytes(bind)
    return bind == "localhost" or address == _LOOPBACK6 or (len(address) == 4 and address[0] == 127)


def anywhere(bind: str) -> bool:
    """Whether what listens on `bind` is reached at every address of the machine."""
    address = _bytes(bind)
    return bind == "*" or (address != b"" and not any(address))


def local(bind: str) -> str:
    """Where the machine itself reaches what listens on `bind`."""
    return LOCAL if anywhere(bind) or bind == "localhost" else bind


def bracketed(host: str) -> str:
    """A host as it stands before a colon: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def joined(host: str, port: int) -> str:
    """`host:port`."""
    return f"{bracketed(host)}:{port}"


def _bytes(text: str) -> bytes:
    """The address as it goes over the wire, of a mapped one the IPv4 address; empty for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            found = socket.inet_pton(family, text[1:-1] if text.startswith("[") else text)
        except (OSError, ValueError):
            continue
        return found[len(_MAPPED) :] if found.startswith(_MAPPED) else found
    return b""
