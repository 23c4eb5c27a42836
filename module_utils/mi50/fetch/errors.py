"""Say which of the many ways a request failed, the same way wherever the project makes one."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import urllib.error

_NOT_FOUND = (404, 410)
_PROXY_AUTH = 407
_PROXY_CODES = (403, 502, 503, 504)  # what a proxy answers for a host behind it
_ERROR = 400
_TOO_MANY = 429
# What a host that is being restarted looks like from elsewhere, before it refuses connections and then takes them.
_AWAY = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)

WHAT = {
    "dns": "the host name does not resolve",
    "refused": "connection refused",
    "timeout": "no answer in time",
    "tls": "TLS failed",
    "not_found": "the server answers, but has no such file",
    "http": "the server answers with an error",
    "proxy_dns": "the proxy's name does not resolve",
    "proxy_unreachable": "the proxy does not answer",
    "proxy_refused": "the proxy refuses the request",
    "proxy_auth": "the proxy asks for credentials",
    "proxy_invalid": "the proxy setting is malformed",
    "other": "the request failed",
}
TLS_REMEDY = (
    "Check the clock and ca-certificates; behind a proxy that opens TLS, add its certificate to "
    "/usr/local/share/ca-certificates and run update-ca-certificates"
)
_REMEDY = {
    "tls": TLS_REMEDY,
    "not_found": "Correct the address; a mirror may be incomplete, and upstream hosts move old versions to an archive",
    "http": "Try again later, or use another mirror",
    "refused": "Check the host, its port, and the proxy settings",
    "proxy_dns": "Correct or remove the proxy, or list this host in no_proxy",
    "proxy_unreachable": "Correct or remove the proxy, or list this host in no_proxy",
    "proxy_refused": "Let the proxy pass this host, or use a mirror it allows",
    "proxy_auth": "Put user and password into the proxy's address (http://user:password@host:port)",
    "proxy_invalid": "A proxy is http://host:port",
}


class FetchError(Exception):
    """A file could not be had, or was refused: the text names address or file, what was found, and the way out."""


class Interrupted(FetchError):
    """A transfer that may succeed when it is tried again, from where it broke off."""


def http_kind(code: int, proxied: bool) -> str:
    """Name the kind of an HTTP status."""
    if code == _PROXY_AUTH:
        return "proxy_auth"
    if code in _NOT_FOUND:
        return "not_found"
    if proxied and code in _PROXY_CODES:
        return "proxy_refused"
    return "http" if code >= _ERROR else "ok"


def classify(reason: object, proxied: bool) -> tuple[str, str]:
    """Name the kind of a failure below HTTP; return (kind, its own words)."""
    text = str(reason)
    if proxied and text.startswith("Tunnel connection failed"):
        return ("proxy_auth" if f" {_PROXY_AUTH} " in f"{text} " else "proxy_refused"), text
    kinds = (
        (socket.gaierror, "dns"),
        (ConnectionRefusedError, "refused"),
        (ssl.SSLError, "tls"),
        (socket.timeout, "timeout"),
    )
    for error, kind in kinds:
        if isinstance(reason, error):
            return kind, text
    return ("timeout" if "timed out" in text else "other"), text


def explain(url: str, error: Exception, proxy: str) -> FetchError:
    """One sentence for a failed request; `proxy` is the proxy's address for `url`, empty for none."""
    transient = False
    if isinstance(error, urllib.error.HTTPError):
        kind, detail = http_kind(error.code, bool(proxy)), f"HTTP {error.code} {error.reason}"
        transient = error.code == _TOO_MANY or error.code >= 500
    else:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        kind, detail = classify(reason, bool(proxy))
        broken = (ConnectionResetError, BrokenPipeError, http.client.IncompleteRead, http.client.RemoteDisconnected)
        transient = kind in ("timeout", "refused") or isinstance(reason, broken) or _away(reason)
        if proxy and kind in ("dns", "refused"):  # the proxy is the only one this connection talked to
            kind = {"dns": "proxy_dns", "refused": "proxy_unreachable"}[kind]
    via = f" through the proxy {mask(proxy)}" if proxy else ""
    remedy = _REMEDY.get(kind, "Check the network, the DNS and the proxy settings of this machine")
    text = f"{mask(url)} cannot be fetched{via}: {WHAT[kind]} ({detail}). {remedy}."
    return (Interrupted if transient else FetchError)(text)


def _away(reason: object) -> bool:
    """Whether a host, or the server that knows its address, cannot be reached for now."""
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, OSError) and reason.errno in _AWAY


def mask(url: str) -> str:
    """Return an address without its password."""
    head, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{head}{mark}{user.partition(':')[0]}:***@{host}{slash}{path}" if at and mark else url
