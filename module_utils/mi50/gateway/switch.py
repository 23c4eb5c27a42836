"""From the version that serves to the next one, without a cut stream: reload, look, and the way back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from .. import config_files
from ..serve import systemd
from ..serve.model import Node, ServeError
from . import admin
from .files import write
from .model import FOLDER, MASTER, STATE, UNIT, UNIT_FILE, GatewayError

_SECONDS = 20.0
_SERVER = re.compile(r"^    server (\S+) (\S+) check ", re.MULTILINE)


def switch(texts: Mapping[str, str], unit_text: str, owner: int, where: Mapping[str, str], node: Node) -> None:
    """Write the files and have HAProxy take them; `where`: server to address.

    `texts` by name below FOLDER, with those of before as `before <name>`. An active gateway is reloaded, never
    restarted: its old worker ends with its last stream. Raises GatewayError (what served serves on), OSError.
    """
    active = systemd.state(UNIT, node).active == "active"
    worker = _worker(node) if active else 0
    if active:
        before = dict(_SERVER.findall(texts["before haproxy.cfg"]))
        remember(node, {f"engine-{name}" for name, place in where.items() if before.get(name, place) != place})
    _write({name: text for name, text in texts.items() if not name.startswith("before ")}, owner, node)
    before_unit = config_files.plan([config_files.File(node.path(UNIT_FILE), unit_text)])
    config_files.apply(before_unit)
    systemd.command(node, "daemon-reload")
    try:
        systemd.command(node, "enable", UNIT)
        if active:
            _reload(worker, node)
        else:
            systemd.attempt(node, "reset-failed", UNIT)
            systemd.command(node, "start", UNIT)
            _wait(0, node)
    except (ServeError, GatewayError) as error:
        words = systemd.last_words(UNIT, node)
        raise GatewayError(
            f"{error}. {_back(texts, before_unit, owner, node, active=active)} Its log: {words}"
        ) from error


def reload(node: Node) -> None:
    """Have HAProxy read its files again. Raises GatewayError, ServeError, OSError."""
    remember(node)
    _reload(_worker(node), node)


def remember(node: Node, moved: Collection[str] = ()) -> None:
    """Write down what is drained and what is down, for the next worker. Raises GatewayError, OSError."""
    owner = node.path(FOLDER).stat().st_uid
    write(node.path(STATE), admin.state(admin.asker(node.path(MASTER)), moved), owner)


def _worker(node: Node) -> int:
    try:
        return admin.workers(admin.asker(node.path(MASTER))("show proc"))[0]
    except OSError:
        return 0


def _reload(worker: int, node: Node) -> None:
    systemd.command(node, "reload", UNIT)
    _wait(worker, node)


def _wait(before: int, node: Node) -> None:
    """Wait for another worker than `before`. Raises GatewayError."""
    end = node.clock() + _SECONDS
    while node.clock() < end:
        now = _worker(node)
        if now not in (0, before):
            return
        node.sleep(0.2)
    raise GatewayError("HAProxy did not take the new configuration (a port that another program has?)")


def _back(texts: Mapping[str, str], units: list[config_files.Change], owner: int, node: Node, *, active: bool) -> str:
    """Return to the files of before; says how that went. Raises nothing."""
    try:
        if not active:
            systemd.attempt(node, "disable", "--now", UNIT)
            return f"{UNIT} is stopped."
        old = {name[len("before ") :]: text for name, text in texts.items() if name.startswith("before ")}
        _write(old, owner, node)
        config_files.apply([config_files.Change(config_files.File(one.file.path, one.before), None, None)
                            for one in units if one.before is not None])  # fmt: skip
        systemd.command(node, "daemon-reload")
        _reload(_worker(node), node)
    except (ServeError, GatewayError, OSError) as error:
        return f"The files of before could not be taken back either: {error}"
    return "The version before serves on."


def _write(texts: Mapping[str, str], owner: int, node: Node) -> None:
    for name, text in texts.items():
        write(node.path(f"{FOLDER}/{name}"), text, owner)
