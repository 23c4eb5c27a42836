"""Steady streaming load on an OpenAI endpoint: each client asks, reads its stream to the end, and asks again."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass

PROMPT = "Tell a long story about a ship, an island and a lighthouse."


@dataclass
class Stream:
    """One request. `status` 0: no answer at all; `whole`: it ended as a stream ends; times of the monotonic clock."""

    begin: float
    status: int = 0
    server: str = ""
    whole: bool = False
    end: float = 0.0
    why: str = ""

    @property
    def lost(self) -> bool:
        return not (self.status == 200 and self.whole)


class Load:
    """`with Load(...) as load:`; on leaving, clients end with the stream that they are reading."""

    def __init__(self, address: str, key: str, model: str, clients: int, tokens: int) -> None:
        self._where, self._key = address, key
        self._body = json.dumps(
            {"model": model, "stream": True, "max_tokens": tokens, "ignore_eos": True,
             "messages": [{"role": "user", "content": PROMPT}]}
        )  # fmt: skip
        self.streams: list[Stream] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    @property
    def ended(self) -> list[Stream]:
        return [one for one in list(self.streams) if one.end]

    @property
    def failed(self) -> list[Stream]:
        """Requests that got no stream."""
        return [one for one in self.ended if one.status != 200]

    @property
    def cut(self) -> list[Stream]:
        """Streams that broke off."""
        return [one for one in self.ended if one.status == 200 and not one.whole]

    def served(self, since: float = 0.0) -> set[str]:
        """Servers of whole streams that began after a time."""
        return {one.server for one in self.ended if not one.lost and one.begin >= since}

    def until(self, true: object, seconds: float) -> None:
        """Wait, while the load goes on."""
        end = time.monotonic() + seconds
        assert callable(true)
        while not true():
            assert time.monotonic() < end, [*self.failed[:3], *self.cut[:3], self.served()]
            time.sleep(0.2)

    def told(self) -> str:
        by_server = {name: sum(one.server == name for one in self.ended) for name in sorted(self.served())}
        return f"{len(self.ended)} requests, {len(self.failed)} failed, {len(self.cut)} cut; {by_server}"

    def _client(self) -> None:
        while not self._over.is_set():
            one = Stream(time.monotonic())
            self.streams.append(one)
            try:
                self._ask(one)
            except (OSError, http.client.HTTPException) as error:
                one.why = repr(error)
            one.end = time.monotonic()
            if one.lost:
                time.sleep(0.5)  # as a client would, and so that a fault is not counted by the thousand

    def _ask(self, one: Stream) -> None:
        connection = http.client.HTTPConnection(self._where, timeout=100)
        try:
            head = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", self._body, head)
            answer = connection.getresponse()
            one.server = answer.headers["X-Served-By"] or ""
            last = b""
            while line := answer.readline():
                last = line.strip() or last
            one.whole = last == b"data: [DONE]"
            one.status, one.why = answer.status, "" if one.whole else last.decode(errors="replace")[:200]
        finally:
            connection.close()
