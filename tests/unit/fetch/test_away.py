"""A server that is away for a while: which failures may pass, and that they are waited for."""

from __future__ import annotations

import errno
import socket
import ssl
import urllib.error
from pathlib import Path

import pytest
from mi50.fetch import download as download_module
from mi50.fetch.download import Wanted, download
from mi50.fetch.errors import Interrupted, explain

from tests.unit.fetch.conftest import CONTENT, Upstream


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.mark.parametrize(
    ("reason", "passing"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), True),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
    ],
    ids=lambda value: getattr(value, "strerror", str(value)),
)
def test_which_failures_may_pass(reason: OSError, passing: bool) -> None:
    found = explain("http://mirror.example/x", urllib.error.URLError(reason), "")
    assert isinstance(found, Interrupted) is passing, found


def test_a_server_that_comes_back_is_waited_for(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses connections at first, as one that is being restarted does."""
    tries = iter([f"http://127.0.0.1:{unused_port()}/x"] * 2)
    request = download_module.urllib.request.Request
    monkeypatch.setattr(
        download_module.urllib.request, "Request", lambda url, **more: request(next(tries, url), **more)
    )
    download(Wanted(f"{upstream.url}/x", tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == CONTENT and len(upstream.log) == 1
