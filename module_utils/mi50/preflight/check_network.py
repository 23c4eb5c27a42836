"""One check for each upstream host the selected roles need. Pure: the requests were made in network.py."""

from __future__ import annotations

from ..fetch.errors import TLS_REMEDY, WHAT
from .model import FAIL, OK, SKIP, Check, Probe, mask_url


def check_probe(probe: Probe) -> Check:
    """Turn one request into a check that names the address, the proxy and where that proxy is set."""
    check_id, title = f"network.{probe.base}", f"Reach {probe.base}"
    address = mask_url(probe.url)
    if probe.kind == "skip":
        return Check(check_id, title, SKIP, probe.detail)
    via = f" through {mask_url(probe.proxy.url)} ({probe.proxy.source})" if probe.proxy else ""
    if probe.kind == "ok":
        return Check(check_id, title, OK, f"{address}{via}", "answers")
    found = f"{WHAT.get(probe.kind, probe.kind)}{via}: {address}"
    if probe.detail:
        found += f" ({probe.detail})"
    return Check(check_id, title, FAIL, found, "answers", _remedy(probe))


def _remedy(probe: Probe) -> str:
    if probe.kind.startswith("proxy_") and probe.proxy:
        return {
            "proxy_auth": f"Put user and password into {probe.proxy.source} (http://user:password@host:port), vaulted",
            "proxy_refused": f"Let the proxy of {probe.proxy.source} pass this host, or set {probe.base} to a mirror "
            "it allows",
            "proxy_invalid": f"Correct {probe.proxy.source}: a proxy is http://host:port",
        }.get(probe.kind, f"Correct or remove the proxy in {probe.proxy.source}, or list this host in mi50_no_proxy")
    if probe.kind == "tls":
        return TLS_REMEDY
    if probe.kind == "not_found":
        return (
            f"Correct {probe.base}: the base ends where the upstream host's own paths begin; a mirror may be incomplete"
        )
    if probe.kind == "http":
        return f"Try again later, or set {probe.base} to another mirror"
    return (
        f"Check the network and DNS of the host. Behind a proxy set mi50_http_proxy and mi50_https_proxy; "
        f"with a mirror nearby set {probe.base}"
    )
