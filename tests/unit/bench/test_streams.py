"""HTTP and SSE parsing do not depend on where the bytes are cut."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mi50.bench.http1 import ProtocolError, Response
from mi50.bench.sse import COMMENT, EventParser, JsonLines

BODY = (
    b'\xef\xbb\xbfdata: one\n\n: ping\n\nevent: message.delta\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    b"data:two\r\rid: 7\nretry: 3\ndata:  spaced\n\ndata\n\nnothing\n\ndata: \xe4\xb8\xad\n\ndata: [DONE]\n\ndata: cut"
)
EVENTS = [
    ("", b"one"), (COMMENT, b"ping"), ("message.delta", b'{"a":\n1}'), ("", b"two"), ("", b" spaced"), ("", b""),
    ("", b"\xe4\xb8\xad"), ("", b"[DONE]"), ("", b"cut"),
]  # fmt: skip


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in zip(edges, edges[1:])]


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=60)


@given(CUTS)
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    parser, found = EventParser(), []
    for number, piece in enumerate(split(BODY, cuts)):
        found += parser.feed(piece, number)
    found += parser.close(99)
    assert [(event.name, event.data) for event in found] == EVENTS


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\r" not in b and b"\n" not in b), max_size=12), CUTS)
@settings(max_examples=200, deadline=None)
def test_any_payload_comes_back(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    parser, found = EventParser(), []
    for piece in split(stream, cuts) if stream else []:
        found += parser.feed(piece, 1)
    assert [event.data for event in found] == payloads


def test_time_is_that_of_the_first_data_line() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a", 10) == []
    assert parser.feed(b"\n", 20) == []
    assert [event.t_ns for event in parser.feed(b"\ndata: b\n\n", 30)] == [20, 30]


@given(CUTS)
@settings(max_examples=100, deadline=None)
def test_json_lines(cuts: list[int]) -> None:
    body = b'{"a":1}\n{"b":2}\r\n\n{"c":3}'
    parser, found = JsonLines(), []
    for piece in split(body, cuts):
        found += parser.feed(piece, 1)
    found += parser.close(2)
    assert [json.loads(event.data) for event in found] == [{"a": 1}, {"b": 2}, {"c": 3}]


CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A:  b \r\n\r\n"
    b"5;ext=1\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)


@given(CUTS)
@settings(max_examples=300, deadline=None)
def test_chunked_body_from_any_pieces(cuts: list[int]) -> None:
    response = Response()
    body = b"".join(response.feed(piece) for piece in split(CHUNKED, cuts))
    assert (response.status, response.headers["x-a"], body) == (200, "b", b"hello 0123456789")
    assert response.complete


@given(CUTS)
@settings(max_examples=100, deadline=None)
def test_length_and_close(cuts: list[int]) -> None:
    sized = Response()
    data = b"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabcdef"
    assert b"".join(sized.feed(piece) for piece in split(data, cuts)) == b"abc"
    assert sized.complete
    closing = Response()
    data = b"HTTP/1.1 200 OK\r\n\r\nabc"
    assert b"".join(closing.feed(piece) for piece in split(data, cuts)) == b"abc"
    assert not closing.complete
    assert closing.end()


def test_a_cut_chunked_body_is_no_end() -> None:
    response = Response()
    response.feed(CHUNKED[:-4])
    assert not response.end()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"a" * 70000,
        gzip.compress(b"x", mtime=0) + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Response().feed(data)


def test_no_body_after_204() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert response.complete
