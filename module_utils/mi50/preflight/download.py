"""Fetch a small file through the proxy that applies, within fixed limits."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from .model import mask_url
from .proxy import ProxySettings, effective_proxy

TIMEOUT_S = 30.0
LIMIT = 64 << 20
_CHUNK = 1 << 16
_NOT_FOUND = (404, 410)


class DownloadError(Exception):
    """The file could not be had; the text names the address, the proxy and the cause."""

    def __init__(self, kind: str, text: str) -> None:
        """`kind` is `missing` (the server has no such file) or `fetch`."""
        super().__init__(text)
        self.kind = kind


def download(
    url: str, settings: ProxySettings, *, apt: bool = True, timeout: float = TIMEOUT_S, limit: int = LIMIT
) -> bytes:
    """Return the file at `url`. `apt`: apt will fetch it, so its own proxy settings apply.

    Raises DownloadError, also when it takes longer than `timeout` seconds or has more than `limit` bytes.
    """
    proxy = effective_proxy(url, apt, settings)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({urlsplit(url).scheme: proxy.url} if proxy else {})
    )
    where = mask_url(url) + (f" through {mask_url(proxy.url)} ({proxy.source})" if proxy else "")
    deadline = time.monotonic() + timeout
    data = bytearray()
    try:
        # The timeout of a socket counts from one piece to the next; a server that drips would never end.
        with opener.open(url, timeout=timeout) as response:
            while piece := response.read1(_CHUNK):
                data += piece
                if len(data) > limit:
                    raise DownloadError("fetch", f"{where}: more than {limit >> 20} MiB")
                if time.monotonic() > deadline:
                    raise DownloadError("fetch", f"{where}: not complete after {timeout:g} s")
    except urllib.error.HTTPError as error:
        error.close()
        kind = "missing" if error.code in _NOT_FOUND else "fetch"
        raise DownloadError(kind, f"{where}: HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        kind = "missing" if isinstance(error.reason, FileNotFoundError) or "No such file" in str(error) else "fetch"
        raise DownloadError(kind, f"{where}: {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError("fetch", f"{where}: {error or type(error).__name__}") from error
    return bytes(data)
