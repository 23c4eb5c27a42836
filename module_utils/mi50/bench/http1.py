"""Reads one HTTP/1.1 response from pieces of any size.

http.client would do the same with buffers of its own, between the arrival of bytes and their timestamp.
"""

from __future__ import annotations

_MAX_HEAD = 65536
_NO_BODY = (204, 304)


class ProtocolError(ValueError):
    """What came is no HTTP/1.1 response."""


class Response:
    """Feed it what arrived; `status` and `headers` are set once the head is whole, `complete` at the body's end."""

    def __init__(self) -> None:
        """Wait for the status line."""
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.complete = False
        self._head = b""
        self._rest = b""
        self._left: int | None = None  # bytes of the body or of the chunk; None: until the connection closes
        self._chunked = False
        self._state = "size"

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the socket, return those that belong to the body. Raises ProtocolError."""
        if self.status is None:
            self._head += data
            data = self._read_head()
            if self.status is None:
                return b""
        if self.complete:
            return b""
        if self._chunked:
            return self._dechunk(data)
        if self._left is None:
            return data
        body = data[: self._left]
        self._left -= len(body)
        self.complete = self._left == 0
        return body

    def end(self) -> bool:
        """Tell whether the body may end where the peer closed the connection."""
        return self.complete or (self.status is not None and not self._chunked and self._left is None)

    def _read_head(self) -> bytes:
        """Parse the head when it is whole; return what follows it."""
        while True:
            head, gap, rest = self._head.partition(b"\r\n\r\n")
            if not gap:
                if len(self._head) > _MAX_HEAD:
                    raise ProtocolError(f"response head of more than {_MAX_HEAD} bytes")
                return b""
            status, headers = _parse_head(head)
            if status >= 200 or status == 101:
                break
            self._head = rest  # 100 Continue and its like precede the response
        self._head = b""
        self.status, self.headers = status, headers
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if status in _NO_BODY:
            self._left = 0
        elif length is not None and not self._chunked:
            if not length.isascii() or not length.isdigit():
                raise ProtocolError(f"Content-Length {length!r}")
            self._left = int(length)
        self.complete = self._left == 0
        if self._chunked:
            self._left = 0
        return rest

    def _dechunk(self, data: bytes) -> bytes:
        data = self._rest + data
        self._rest = b""
        body: list[bytes] = []
        while data and not self.complete:
            if self._state == "data":
                left = self._left or 0
                piece = data[:left]
                body.append(piece)
                data = data[len(piece) :]
                self._left = left - len(piece)
                if self._left == 0:
                    self._state = "gap"
                continue
            line, newline, after = data.partition(b"\n")
            if not newline:
                if len(data) > _MAX_HEAD:
                    raise ProtocolError("chunk header without an end")
                self._rest = data
                break
            data = after
            self._chunk_line(line.rstrip(b"\r"))
        return b"".join(body)

    def _chunk_line(self, line: bytes) -> None:
        """Handle a chunk's size, the line end behind its data, or a trailer."""
        if self._state == "gap":
            if line:
                raise ProtocolError(f"chunk longer than its size: {line[:20]!r}")
            self._state = "size"
        elif self._state == "size":
            digits = line.split(b";", 1)[0].strip()
            try:
                self._left = int(digits, 16)
            except ValueError as error:
                raise ProtocolError(f"chunk size {line[:20]!r}") from error
            self._state = "data" if self._left else "trailer"
        elif not line:
            self.complete = True


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise ProtocolError(f"not an HTTP/1.1 response: {lines[0][:60]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers
