"""Where something listens, and who may come: the same words for nodes and for the host that watches them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

_PORTS = range(1, 65536)


def loopback(bind: str) -> bool:
    """Whether only the machine itself reaches what listens on `bind`."""
    if bind == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind.strip("[]")).is_loopback
    except ValueError:
        return False


def joined(address: str, port: int) -> str:
    """`address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address and not address.startswith("[") else f"{address}:{port}"


def is_address(text: str) -> bool:
    """Whether it is an IP address or a network, as systemd's IPAddressAllow= takes them: no name."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def exporter_problems(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with a node's own settings (`bind`, `port`, `scraper`, `interval`), with the way out."""
    found = []
    bind, scraper = str(settings["bind"]), str(settings["scraper"] or "")
    for word in scraper.split():
        if not is_address(word):
            found.append(f"monitoring_scraper: {word!r} is no IP address or network (systemd filters by address)")
    if not loopback(bind) and not scraper:
        found.append(
            f"monitoring_exporter_bind is {bind}: node-exporter asks for no password. Say in monitoring_scraper which"
            " address Prometheus comes from; every other one is kept away"
        )
    if settings["port"] not in _PORTS:
        found.append(f"monitoring_exporter_port is {settings['port']}: give 1 to 65535")
    if not isinstance(settings["interval"], int) or settings["interval"] < 5:
        found.append(f"monitoring_interval is {settings['interval']}: give whole seconds from 5 up")
    return found
