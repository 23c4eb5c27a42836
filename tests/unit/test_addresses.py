"""Where something listens: what others reach, where it is asked from its own machine, how it is written."""

from __future__ import annotations

import pytest
from mi50 import addresses

ANYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound


@pytest.mark.parametrize(
    ("bind", "loopback", "anywhere", "local"),
    [
        ("127.0.0.1", True, False, "127.0.0.1"),
        ("127.0.0.2", True, False, "127.0.0.2"),
        ("localhost", True, False, "127.0.0.1"),
        ("::1", True, False, "::1"),
        ("[::1]", True, False, "[::1]"),
        ("::ffff:127.0.0.1", True, False, "::ffff:127.0.0.1"),
        (ANYWHERE, False, True, "127.0.0.1"),
        (f"::ffff:{ANYWHERE}", False, True, "127.0.0.1"),
        ("::", False, True, "127.0.0.1"),
        ("[::]", False, True, "127.0.0.1"),
        ("*", False, True, "127.0.0.1"),
        ("192.0.2.1", False, False, "192.0.2.1"),
        ("::ffff:192.0.2.1", False, False, "::ffff:192.0.2.1"),
        ("2001:db8::1", False, False, "2001:db8::1"),
        ("fe80::1%eth0", False, False, "fe80::1%eth0"),
        ("node1.example", False, False, "node1.example"),
        ("localhost.example", False, False, "localhost.example"),
        ("/run/engine.sock", False, False, "/run/engine.sock"),
        ("", False, False, ""),
    ],
)
def test_who_reaches_what_listens_there(bind: str, *, loopback: bool, anywhere: bool, local: str) -> None:
    assert (addresses.loopback(bind), addresses.anywhere(bind), addresses.local(bind)) == (loopback, anywhere, local)


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("192.0.2.1", "192.0.2.1:8080"),
        ("node1.example", "node1.example:8080"),
        ("::1", "[::1]:8080"),
        ("[::1]", "[::1]:8080"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8080"),
        ("*", "*:8080"),
    ],
)
def test_an_address_with_its_port(host: str, written: str) -> None:
    assert addresses.joined(host, 8080) == written
    assert addresses.bracketed(host) == written.rpartition(":")[0]
