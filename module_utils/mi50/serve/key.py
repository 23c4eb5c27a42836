"""The API key: one file, made once. It is never returned, logged, or put on a command line or in an environment.

The file belongs to the service's user and nobody else may read it: programs take its path. systemd's credentials would
keep it root's, but they come out empty in containers (LXC, Docker), where cards are often passed through to.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from .. import config_files
from .model import Key, Node

MODE = 0o600
_BYTES = 32  # 256 bits, 43 characters
# What fits in an HTTP header, a line of an environment file and llama-server's key file, which takes commas apart.
_USABLE = re.compile(r"[A-Za-z0-9._~+/=:@-]{16,512}")
_RULE = "16 to 512 letters, digits or ._~+/=:@- on one line"


def problems(key: Key, node: Node, owners: frozenset[int] = frozenset({0})) -> list[str]:
    """What is wrong with the key file that is there, or with the key that was given; nothing is read into a message.

    `owners`: user ids that may own the file (root, and the service's user). A file that is missing is no problem.
    """
    found: list[str] = []
    if not key.path:
        return found
    if key.given and not _USABLE.fullmatch(key.given):
        found.append(f"the API key that was given cannot be used: {_RULE} (leave it out to have one generated)")
    path = node.path(key.path)
    try:
        state = path.lstat()
    except FileNotFoundError:
        return found
    except OSError as error:
        return [*found, f"the key file {key.path} cannot be read ({error.strerror}): check its directory"]
    found += _state_problems(key.path, state, owners)
    if not key.given and stat.S_ISREG(state.st_mode):
        found += _content_problems(key.path, path)
    return found


def _state_problems(name: str, state: os.stat_result, owners: frozenset[int]) -> list[str]:
    if not stat.S_ISREG(state.st_mode):
        return [f"the key file {name} is not a regular file: remove it, the next run makes one"]
    found = []
    mode = stat.S_IMODE(state.st_mode)
    if mode & 0o077:
        found.append(
            f"the key file {name} has mode {mode:04o}, so others than its owner can read the key: it counts as known. "
            f"Remove it (the next run makes a new key), or `chmod 600` it if you trust everyone on this machine"
        )
    if state.st_uid not in owners:
        found.append(f"the key file {name} belongs to user {state.st_uid}: `chown root:root` it, or remove it")
    return found


def _content_problems(name: str, path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return [f"the key file {name} cannot be read ({type(error).__name__}): remove it, the next run makes one"]
    if not _USABLE.fullmatch(text.strip()):
        return [f"the key file {name} holds no usable key ({_RULE}): remove it, the next run makes one"]
    return []


def read(path: Path) -> str:
    """Return the key. Raises OSError."""
    return path.read_text(encoding="utf-8").strip()


def differs(key: Key, node: Node, owner: int | None) -> bool:
    """Tell whether `ensure` would write: no file yet, another key or owner, or the environment file lags behind."""
    path = node.path(key.path)
    try:
        now = read(path)
        if path.stat().st_uid != owner:
            return True
    except OSError:
        return True
    if key.given and now != key.given:
        return True
    if not key.variable:
        return False
    try:
        return node.path(f"{key.path}.env").read_text(encoding="utf-8") != _line(key, now)
    except OSError:
        return True


def ensure(key: Key, node: Node, owner: int) -> bool:
    """Write what is missing, by rename, never readable for others even for a moment. Returns whether it wrote.

    `owner` is the service's user id. Raises OSError. `problems` must have been asked first.
    """
    if not key.path or not differs(key, node, owner):
        return False
    path = node.path(key.path)
    text = key.given
    if not text:
        text = read(path) if path.exists() else secrets.token_urlsafe(_BYTES)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # mkstemp, which `write` begins with, makes the file 0600 from its first moment.
    config_files.write(path, f"{text}\n".encode(), MODE)
    os.chown(path, owner, -1)
    if key.variable:
        config_files.write(node.path(f"{key.path}.env"), _line(key, text).encode(), MODE)
    return True


def remove(key: Key, node: Node) -> bool:
    """Remove the key's files. Returns whether there were any."""
    if not key.path:
        return False
    there = [path for path in (node.path(key.path), node.path(f"{key.path}.env")) if path.exists()]
    for path in there:
        path.unlink()
    return bool(there)


def _line(key: Key, text: str) -> str:
    return f"{key.variable}={text}\n"
