"""The gateway's own keys: one file each, made once, 0600 and root's; a name not asked for any more is withdrawn."""

from __future__ import annotations

from collections.abc import Sequence

from ..serve import key as keys
from ..serve.model import Key, Node
from .model import CLIENT_KEYS, CLIENT_NAME, Settings


def _key(name: str, settings: Settings) -> Key:
    return Key(f"{CLIENT_KEYS}/{name}", settings.given.get(name, ""))


def problems(settings: Settings, node: Node) -> list[str]:
    """What is wrong with the names, with keys that were given, or with files that are there. Tells no key."""
    found = [f"the client {name!r} in gateway_clients: give small letters, digits, _ . - (40 at most)"
             for name in settings.clients if not CLIENT_NAME.fullmatch(name)]  # fmt: skip
    found += [f"gateway_api_keys has a key for {name!r}, which gateway_clients does not name"
              for name in settings.given if name not in settings.clients]  # fmt: skip
    if not settings.clients:
        found.append("gateway_clients is empty: nobody could ask the gateway anything")
    for name in settings.clients:
        if CLIENT_NAME.fullmatch(name):
            found += [f"client {name}: {text}" for text in keys.problems(_key(name, settings), node)]
    values = list(settings.given.values())
    if len(set(values)) != len(values):
        found.append("two clients of gateway_api_keys have the same key: then neither could be withdrawn")
    return found


def missing(settings: Settings, node: Node) -> list[str]:
    """Names whose file would be written."""
    return [name for name in settings.clients if keys.differs(_key(name, settings), node, 0)]


def withdrawn(settings: Settings, node: Node) -> list[str]:
    """Names that have a file and are not asked for."""
    folder = node.path(CLIENT_KEYS)
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in there if name not in settings.clients]


def ensure(settings: Settings, node: Node) -> dict[str, str]:
    """Write what is missing, remove what is withdrawn; returns name to key. Raises OSError."""
    node.path(CLIENT_KEYS).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in settings.clients:
        keys.ensure(_key(name, settings), node, 0)
    for name in withdrawn(settings, node):
        node.path(f"{CLIENT_KEYS}/{name}").unlink()
    return known(settings.clients, node)


def known(names: Sequence[str], node: Node) -> dict[str, str]:
    """Name to key of those that have one. Raises OSError for a file that cannot be read."""
    paths = {name: node.path(f"{CLIENT_KEYS}/{name}") for name in names}
    return {name: keys.read(path) for name, path in paths.items() if path.exists()}
