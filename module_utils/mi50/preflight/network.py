"""Ask upstream hosts for one known file each, all at once, and say which of the many ways it failed."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from ..fetch.errors import classify, http_kind
from .model import Probe, Proxy, Target
from .proxy import ProxySettings, effective_proxy

TIMEOUT_S = 10.0
_NO_HEAD = (403, 405, 501)  # answers of servers that dislike HEAD; asked again with a one-byte GET
_UNAUTHORIZED = 401


def probe_all(targets: list[Target], settings: ProxySettings, timeout: float = TIMEOUT_S) -> list[Probe]:
    """Probe every target in parallel, within about twice `timeout` seconds; results keep the order of the targets."""
    results: dict[int, Probe] = {}

    def work(index: int, target: Target) -> None:
        results[index] = probe(target, settings, timeout)

    # Daemons: a resolver that hangs has no timeout of its own and must not hold the report up.
    threads = [threading.Thread(target=work, args=item, daemon=True) for item in enumerate(targets)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2 * timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [
        results.get(index, Probe(target.base, target.url or "", "timeout", f"{2 * timeout:g} s"))
        for index, target in enumerate(targets)
    ]


def probe(target: Target, settings: ProxySettings, timeout: float = TIMEOUT_S) -> Probe:
    """Ask for one address. Never raises: every failure is a `kind`."""
    if not target.url:
        return Probe(target.base, "", "skip", "empty, or not used by this stack")
    if urlsplit(target.url).scheme not in ("http", "https"):
        return Probe(target.base, target.url, "skip", "a local mirror")
    proxy = effective_proxy(target.url, target.apt, settings)
    if proxy:
        problem = _proxy_problem(proxy, timeout)
        if problem:
            return Probe(target.base, target.url, problem[0], problem[1], proxy)
    kind, detail = _request(target.url, "HEAD", proxy, timeout)
    if kind == "retry":
        kind, detail = _request(target.url, "GET", proxy, timeout)
    return Probe(target.base, target.url, kind, detail, proxy)


def _proxy_problem(proxy: Proxy, timeout: float) -> tuple[str, str] | None:
    """Return why the proxy itself cannot be talked to, or None."""
    try:
        parts = urlsplit(proxy.url if "://" in proxy.url else f"http://{proxy.url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError as exc:
        return "proxy_invalid", str(exc)
    if not host:
        return "proxy_invalid", "no host name"
    try:
        socket.create_connection((host, port), timeout).close()
    except socket.gaierror as exc:
        return "proxy_dns", f"{host}: {exc.strerror}"
    except OSError as exc:
        return "proxy_unreachable", f"{host}:{port}: {exc.strerror or exc}"
    return None


def _request(url: str, method: str, proxy: Proxy | None, timeout: float) -> tuple[str, str]:
    """Make one request; return (kind, detail). `retry` asks for another method."""
    # S310 warns of file: URLs; probe() let http and https through alone.
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "mi50-aipc-preflight"})  # noqa: S310
    if method == "GET":
        request.add_header("Range", "bytes=0-0")
    proxies = {urlsplit(url).scheme: proxy.url} if proxy else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(request, timeout=timeout):
            return "ok", ""
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == _UNAUTHORIZED and url.endswith("/v2/"):
            return "ok", ""  # how an image registry greets a client without a token
        retry = method == "HEAD" and exc.code in _NO_HEAD
        return "retry" if retry else http_kind(exc.code, bool(proxy)), f"HTTP {exc.code} {exc.reason}"
    except urllib.error.URLError as exc:
        return classify(exc.reason, bool(proxy))
    except (OSError, http.client.HTTPException) as exc:
        return classify(exc, bool(proxy))
