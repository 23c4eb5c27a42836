"""What a node may say of its exporter: where it listens, and who may come. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ..addresses import loopback

_PORTS = range(1, 65536)


def is_address(text: str) -> bool:
    """Whether it is an IP address or a network, as systemd's IPAddressAllow= takes them: no name."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def problems(settings: Mapping[str, Any]) -> list[str]:
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
