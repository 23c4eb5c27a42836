"""systemd's notification protocol, without its library."""

from __future__ import annotations

import os


class Notifier:
    """Sends lines to NOTIFY_SOCKET; silent where there is none. A send that fails costs nothing but the message."""

    def __init__(self, address: str | None = None) -> None:
        """Take the address from the environment unless one is given; a leading @ means the abstract namespace."""
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._socket = None
        if address:
            import socket

            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A full queue at the other end must not stop the loop.
            self._socket.setblocking(False)
            self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def send(self, *lines: str) -> None:
        """Send one datagram of lines such as READY=1."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return
