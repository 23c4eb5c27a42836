"""Splits a body into server-sent events (or lines of JSON), whatever the boundaries of its pieces.

An event's time is the arrival of the piece that completed its first data line, before anything is parsed.
https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6.
"""

from __future__ import annotations

from typing import NamedTuple

COMMENT = ":"


class Event(NamedTuple):
    """`name` is the event field, empty as a rule, or COMMENT for a ping. Time in monotonic nanoseconds."""

    t_ns: int
    name: str
    data: bytes


class Lines:
    """Cuts bytes into lines ended by LF, CR LF or CR."""

    def __init__(self) -> None:
        """Start at a line's beginning."""
        self._rest = b""
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now."""
        if self._after_cr and data:
            self._after_cr = False
            data = data[1:] if data.startswith(b"\n") else data
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        data = self._rest + data
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()
        return lines

    def rest(self) -> bytes:
        """Return the unfinished line and forget it."""
        rest, self._rest = self._rest, b""
        return rest


class EventParser:
    """Feed it pieces of a text/event-stream body."""

    def __init__(self) -> None:
        """Start at the stream's beginning."""
        self._lines = Lines()
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._t_ns = 0

    def feed(self, data: bytes, t_ns: int) -> list[Event]:
        """Return the events that are whole now; `t_ns` is when `data` arrived."""
        events: list[Event] = []
        for line in self._lines.feed(data):
            self._line(line, t_ns, events)
        return events

    def close(self, t_ns: int) -> list[Event]:
        """Return what an end without a blank line leaves: servers that fail leave their last words so."""
        events: list[Event] = []
        self._line(self._lines.rest(), t_ns, events)
        self._line(b"", t_ns, events)
        return events

    def _line(self, line: bytes, t_ns: int, events: list[Event]) -> None:
        if self._first:
            self._first = False
            line = line[3:] if line.startswith(b"\xef\xbb\xbf") else line
        if not line:
            if self._data:
                events.append(Event(self._t_ns, self._name, b"\n".join(self._data)))
            self._name, self._data = "", []
            return
        if line.startswith(b":"):
            events.append(Event(t_ns, COMMENT, line[1:].strip()))
            return
        field, _colon, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            if not self._data:
                self._t_ns = t_ns
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


class JsonLines:
    """The same for a body of one JSON document a line, as Ollama sends it."""

    def __init__(self) -> None:
        """Start at the stream's beginning."""
        self._lines = Lines()

    def feed(self, data: bytes, t_ns: int) -> list[Event]:
        """Return the lines that are whole now."""
        return [Event(t_ns, "", line) for line in self._lines.feed(data) if line.strip()]

    def close(self, t_ns: int) -> list[Event]:
        """Return the last line where its end is missing."""
        rest = self._lines.rest()
        return [Event(t_ns, "", rest)] if rest.strip() else []
