"""The API key of a vLLM in a container: an ASGI middleware that reads it from a file (vLLM's --middleware).

vLLM itself takes a key as an argument or from its environment: `ps`, `docker inspect` and its own log of arguments
would show it. Here the key stands in a file that the container's user alone may read, and nowhere else. Loaded inside
the image: standard library only.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

FILE = "/run/mi50/key"
# Says no more than whether the server lives; what watches the container has no key.
_OPEN = ("/health", "/ping")
_BODY = b'{"error": {"message": "Unauthorized", "type": "invalid_request_error", "code": 401}}'

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RequireKey:
    """Lets a request through that carries the key; every other one is answered with 401, before vLLM sees it."""

    def __init__(self, app: App) -> None:
        """Read the key. Raises OSError or ValueError: without a key vLLM does not start."""
        self._app = app
        self._key = Path(os.environ.get("MI50_KEY_FILE", FILE)).read_bytes().strip()
        if len(self._key) < 16:
            raise ValueError("the key file holds no key")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        kind = scope["type"]
        if kind == "lifespan" or (kind == "http" and str(scope.get("path")) in _OPEN) or self._knows(scope):
            await self._app(scope, receive, send)
        elif kind == "http":
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
        else:  # a websocket: closed before it is accepted
            await send({"type": "websocket.close", "code": 1008})

    def _knows(self, scope: Message) -> bool:
        given = [value for name, value in scope.get("headers") or [] if name.lower() == b"authorization"]
        # Several headers would leave open which one somebody behind us believes.
        return len(given) == 1 and hmac.compare_digest(given[0], b"Bearer " + self._key)
