"""Whether a server has loaded its model: asked over HTTP, without measuring anything."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

_SECONDS = 5.0
_LOADING = 503


def missing(url: str, kind: str, api_key_file: str = "", ca_file: str = "") -> str | None:
    """Return what a server still lacks, in words, or None when it answers.

    Any answer but 5xx means that the server is up: a wrong key or name is the measurement's to find and to name.
    """
    paths = ["/health"] if kind == "llama.cpp" else []
    for path in (*paths, "/v1/models"):
        try:
            status = _get(url, path, _key(api_key_file), ca_file)
        except (OSError, http.client.HTTPException) as exc:
            return f"{url}{path}: {exc or type(exc).__name__}"
        if status == _LOADING:
            return f"{url}{path} says 503, it is loading"
        if status >= 500:
            return f"{url}{path} says {status}"
    return None


def _key(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def _get(url: str, path: str, key: str, ca_file: str) -> int:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file or None)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status
    finally:
        connection.close()
