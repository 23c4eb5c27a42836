"""The system user that a service runs as."""

from __future__ import annotations

from . import checks, systemd
from .model import Node, ServeError


def ensure(name: str, home: str, node: Node) -> int:
    """Return the id of a user, made without login when it is missing; `home` is not made. Raises ServeError."""
    known = checks.user_id(name, node)
    if known is not None:
        return known
    node.say(f"making the user {name}")
    argv = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    done = node.run([*argv, "--home-dir", home, name], timeout=60)
    if done.code not in (0, 9):  # 9: it exists
        raise ServeError(f"the user {name} could not be made: {systemd.said(done)}")
    known = checks.user_id(name, node)
    if known is None:
        raise ServeError(f"the user {name} was made, but is not in /etc/passwd")
    return known
