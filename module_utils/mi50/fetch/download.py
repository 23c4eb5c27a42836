"""Fetch one address into one file: resumed where the server allows it, proven before it takes the file's place."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.response import addinfourl

from .errors import FetchError, Interrupted, explain, mask
from .partial import Partial
from .record import Record

TIMEOUT_S = 60.0
RETRIES = 3
PAUSE_S = 2.0
SCHEMES = ("http", "https", "file")
_CHUNK = 1 << 20
_PARTIAL_CONTENT = 206
_RANGE_REFUSED = 416
_AGENT = "mi50-aipc"


class Wanted(NamedTuple):
    """A file to have: `sha256` in hexadecimal and `size` in bytes where known, `mode` as permission bits.

    `headers` (a token, say) go to the host of `url` alone, never to one it redirects to.
    """

    url: str
    dest: Path
    sha256: str | None = None
    size: int | None = None
    mode: int = 0o644
    headers: tuple[tuple[str, str], ...] = ()


class Fetched(NamedTuple):
    """What came: the record for the file, and the bytes that crossed the network for it."""

    record: Record
    received: int


def download(
    wanted: Wanted,
    timeout: float = TIMEOUT_S,
    retries: int = RETRIES,
    pause: float = PAUSE_S,
    watch: Callable[[int], None] = lambda size: None,
    patient: bool = False,
) -> Fetched:
    """Fetch a file, complete and proven or not at all; proxies come from the environment. `timeout`, `pause`: seconds.

    Raises FetchError. An interrupted transfer is taken up again `retries` times, and by the next run. `watch` is told
    the bytes that are there, after each piece. When `patient`, only attempts that bring nothing new count as tries.
    """
    scheme = urlsplit(wanted.url).scheme
    if scheme not in SCHEMES:
        raise FetchError(f"{mask(wanted.url)} cannot be fetched: only http, https and file addresses can.")
    partial = Partial(wanted.dest)
    try:
        failed = most = 0
        while True:
            start = partial.resume(wanted.url, _digest(wanted))
            most = max(most, partial.size)
            try:
                _transfer(wanted, partial, start, timeout, watch)
                break
            except Interrupted:
                failed = 0 if patient and partial.size > most else failed + 1
                if failed > retries:
                    raise
                time.sleep(pause)
        return Fetched(_prove(wanted, partial), partial.received)
    finally:
        partial.close()


def proxy_for(url: str) -> str:
    """Return the address of the proxy a request would use, empty for none."""
    parts = urlsplit(url)
    if parts.hostname and urllib.request.proxy_bypass(parts.hostname):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def _digest(wanted: Wanted) -> str:
    return (wanted.sha256 or "").lower()


def _transfer(
    wanted: Wanted, partial: Partial, validator: str | None, timeout: float, watch: Callable[[int], None]
) -> None:
    """Make one request and write its answer behind what is there; `validator` None asks for all of it."""
    if validator is not None and wanted.size is not None and partial.size == wanted.size:
        return  # it was cut off after its last byte
    url = wanted.url
    # S310 warns of unexpected schemes; download() refused them.
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})  # noqa: S310
    for name, value in wanted.headers:
        request.add_unredirected_header(name, value)
    if validator is not None:
        request.add_header("Range", f"bytes={partial.size}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler()).open(request, timeout=timeout) as answer:
            _receive(answer, wanted, partial, watch)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_REFUSED and validator is not None:
            partial.restart()
            raise Interrupted(f"{mask(url)}: the server refuses to resume ({error.code}).") from None
        raise explain(url, error, proxy_for(url)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise explain(url, error, proxy_for(url)) from None


def _receive(
    answer: http.client.HTTPResponse | addinfourl, wanted: Wanted, partial: Partial, watch: Callable[[int], None]
) -> None:
    """Write an answer behind what is there, or anew where the server did not resume."""
    url = wanted.url
    if getattr(answer, "status", None) != _PARTIAL_CONTENT:
        partial.restart()
        partial.note(url, _validator(answer.headers), _digest(wanted))
    elif not _continues(answer.headers, partial.size):
        partial.restart()
        raise Interrupted(f"{mask(url)}: the server resumes at another place than asked.")
    announced = answer.headers.get("Content-Length")
    if announced is not None:
        partial.reserve(int(announced), url)
    before = partial.size
    while True:
        piece = answer.read(_CHUNK)
        if not piece:
            break
        partial.write(piece)
        watch(partial.size)
    received = partial.size - before
    if announced is not None and received != int(announced):
        raise Interrupted(
            f"{mask(url)}: the transfer ended after {received} of {announced} bytes. Run again, it goes on from there "
            "if the server can; a proxy may limit the size of files."
        )


def _continues(headers: Message, at: int) -> bool:
    """True when a 206 starts exactly where our bytes end."""
    return (headers.get("Content-Range") or "").startswith(f"bytes {at}-")


def _validator(headers: Message) -> str:
    """Return what If-Range takes: a strong ETag or else the date; empty when the server cannot resume."""
    if (headers.get("Accept-Ranges") or "").strip().lower() == "none":
        return ""
    etag = (headers.get("ETag") or "").strip()
    if etag and not etag.startswith("W/"):
        return etag
    return (headers.get("Last-Modified") or "").strip()


def _prove(wanted: Wanted, partial: Partial) -> Record:
    """Compare size and digest, and put the file in place. Raises FetchError; a file that fails is not kept."""
    found = partial.digest.hexdigest()
    for name, value, expected in (
        ("size", partial.size, wanted.size),
        ("sha256", found, wanted.sha256.lower() if wanted.sha256 else None),
    ):
        if expected is not None and value != expected:
            partial.discard()
            raise FetchError(
                f"{name} of {mask(wanted.url)} is {value}, expected {expected}; nothing was kept. The file changed "
                "upstream, or something on the way (a proxy's error page) took its place."
            )
    mtime_ns = partial.commit(wanted.mode)
    return Record(wanted.url, found, partial.size, mtime_ns)
