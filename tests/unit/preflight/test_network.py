"""Probes against real sockets: servers, proxies that work, refuse, ask for a password, or are not there."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mi50.preflight.model import Target
from mi50.preflight.network import probe, probe_all
from mi50.preflight.proxy import (
    ProxySettings,
    bypasses,
    effective_proxy,
    find_apt_file,
    parse_apt_dump,
    read_environment_file,
)
from mi50.preflight.targets import targets_for

NOWHERE = "http://does-not-exist.invalid/file"
DIRECT = ProxySettings()


@contextmanager
def server(code: int = 200, head: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers `code` (HEAD: `head`); yields its address and the request lines it saw."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(f"{self.command} {self.path}")
            self.send_response(head if head and self.command == "HEAD" else code)
            self.end_headers()

        do_HEAD = do_GET = do_CONNECT = answer

        def log_message(self, *_args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", seen
        listening.shutdown()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def target(url: str | None, apt: bool = False) -> Target:
    return Target("mi50_url_radeon", url, apt)


def via(url: str) -> ProxySettings:
    return ProxySettings(variables={"http": url, "https": url})


@pytest.mark.parametrize(
    ("code", "head", "kind"),
    [(200, None, "ok"), (404, None, "not_found"), (503, None, "http"), (200, 405, "ok"), (403, None, "http")],
)
def test_direct(code: int, head: int | None, kind: str) -> None:
    with server(code, head) as (url, seen):
        assert probe(target(f"{url}/file"), DIRECT, 5).kind == kind
        assert seen[0] == "HEAD /file"


def test_registry_greets_with_401() -> None:
    with server(401) as (url, _seen):
        assert probe(target(f"{url}/v2/"), DIRECT, 5).kind == "ok"
        assert probe(target(f"{url}/file"), DIRECT, 5).kind == "http"


def test_no_network() -> None:
    assert probe(target(NOWHERE), DIRECT, 5).kind == "dns"
    assert probe(target(f"http://127.0.0.1:{closed_port()}/x"), DIRECT, 5).kind == "refused"
    assert probe(target(f"https://127.0.0.1:{closed_port()}/x"), DIRECT, 5).kind == "refused"


def test_tls_to_a_plain_server_is_tls() -> None:
    with server() as (url, _seen):
        assert probe(target(url.replace("http:", "https:") + "/x"), DIRECT, 5).kind == "tls"


def test_silence_times_out_for_all_targets_together() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        started = time.monotonic()
        results = probe_all([target(url)] * 4, DIRECT, 0.4)
        assert [result.kind for result in results] == ["timeout"] * 4
        assert time.monotonic() - started < 1.5


def test_working_proxy_is_used_and_named() -> None:
    with server() as (proxy, seen):
        result = probe(target(NOWHERE), via(proxy), 5)
        assert result.kind == "ok"
        assert seen == [f"HEAD {NOWHERE}"]
        assert result.proxy
        assert result.proxy.source == "mi50_http_proxy"


@pytest.mark.parametrize(("code", "kind"), [(407, "proxy_auth"), (403, "proxy_refused"), (503, "proxy_refused")])
def test_proxy_that_refuses(code: int, kind: str) -> None:
    with server(code) as (proxy, _seen):
        assert probe(target(NOWHERE), via(proxy), 5).kind == kind
        assert probe(target(NOWHERE.replace("http:", "https:")), via(proxy), 5).kind == kind


@pytest.mark.parametrize(
    ("proxy", "kind"),
    [
        (f"http://127.0.0.1:{closed_port()}", "proxy_unreachable"),
        ("http://no-such-proxy.invalid:3128", "proxy_dns"),
        ("http://:3128", "proxy_invalid"),
        ("http://h:port", "proxy_invalid"),
    ],
    ids=["closed port", "unknown name", "no name", "no port"],  # the port differs in each test process
)
def test_broken_proxy_is_told_from_a_broken_server(proxy: str, kind: str) -> None:
    with server() as (url, seen):
        settings = ProxySettings(environment={"http_proxy": proxy})
        result = probe(target(f"{url}/x"), settings, 5)
        assert result.kind == kind
        assert result.proxy
        assert result.proxy.source == "/etc/environment"
        assert seen == []


def test_no_proxy_goes_around_a_broken_proxy() -> None:
    with server() as (url, _seen):
        settings = ProxySettings(variables={"http": f"http://127.0.0.1:{closed_port()}"}, no_proxy="127.0.0.1")
        assert probe(target(f"{url}/x"), settings, 5).kind == "ok"


@pytest.mark.parametrize("url", ["", None, "file:///srv/mirror/x"])
def test_nothing_to_ask(url: str | None) -> None:
    assert probe(target(url), DIRECT, 5).kind == "skip"


def test_which_proxy_wins() -> None:
    settings = ProxySettings(
        variables={"https": "http://var:1"},
        environment={"https_proxy": "http://env:1", "http_proxy": "http://env:2", "no_proxy": ".lan"},
        apt={"https": "http://apt:1", "https:mirror.lan": "DIRECT"},
        apt_files={"https": "/etc/apt/apt.conf.d/99proxy"},
    )

    def chosen(url: str, apt: bool = False) -> str:
        proxy = effective_proxy(url, apt, settings)
        return f"{proxy.url} {proxy.source}" if proxy else "direct"

    assert chosen("https://h/x", apt=True) == "http://apt:1 /etc/apt/apt.conf.d/99proxy"
    assert chosen("https://mirror.lan/x", apt=True) == "direct"
    assert chosen("https://h/x") == "http://var:1 mi50_https_proxy"
    assert chosen("http://h/x") == "http://env:2 /etc/environment"
    assert chosen("http://a.lan/x") == "direct"


@pytest.mark.parametrize(
    ("host", "no_proxy", "result"),
    [
        ("a.example", ".example", True),
        ("a.example", "example", True),
        ("example", "example", True),
        ("badexample", "example", False),
        ("a.example", "b.example, *", True),
        ("a.example", "*.example:443", True),
        ("a.example", "", False),
        ("a.example", " , ", False),
    ],
)
def test_no_proxy_lists(host: str, no_proxy: str, result: bool) -> None:
    assert bypasses(host, no_proxy) is result


def test_settings_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text('# http_proxy=x\nexport HTTP_PROXY="http://p:1"\nPATH=/bin\nbroken\n')
    assert read_environment_file(tmp_path / "environment") == {"http_proxy": "http://p:1", "path": "/bin"}
    assert read_environment_file(tmp_path / "missing") == {}
    dump = (
        'Acquire "";\nAcquire::http::Proxy "http://p:2";\nAcquire::http::Proxy::deb.lan '
        '"DIRECT";\nAcquire::https::Proxy "";\n'
    )
    assert parse_apt_dump(dump) == {"http": "http://p:2", "http:deb.lan": "DIRECT"}
    (tmp_path / "etc/apt/apt.conf.d").mkdir(parents=True)
    (tmp_path / "etc/apt/apt.conf.d/50p").write_text('Acquire { http { Proxy "http://p:2"; } };')
    assert find_apt_file("http://p:2", tmp_path) == "/etc/apt/apt.conf.d/50p"
    assert find_apt_file("http://other", tmp_path) == "/etc/apt/apt.conf.d"


def test_targets_are_files_the_roles_fetch(stack: dict[str, Any]) -> None:
    bases = ["mi50_url_radeon", "mi50_url_arch_archive", "mi50_url_pytorch", "mi50_url_pypi", "mi50_registry_docker"]
    by_base = {t.base: t for t in targets_for(stack, bases, "debian", "12")}
    assert str(by_base["mi50_url_radeon"].url).endswith("/rocm/apt/6.4.3/dists/jammy/InRelease")
    assert by_base["mi50_url_radeon"].apt
    assert str(by_base["mi50_url_arch_archive"].url).endswith("rocblas-6.4.3-3-x86_64.pkg.tar.zst")
    assert str(by_base["mi50_url_pytorch"].url).endswith("/rocm6.4/")
    assert by_base["mi50_url_pypi"].url is None
    assert by_base["mi50_registry_docker"].url == "https://registry-1.docker.io/v2/"
    assert str(targets_for(stack, bases[:1], "arch", "")[0].url).endswith("rocm.gpg.key")
    assert targets_for(stack, ["mi50_url_huggingface"], "debian", "12")[0].url is None
