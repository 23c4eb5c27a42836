"""Removes a service and everything it brought, but models."""

from __future__ import annotations

import shutil

from . import checks, record, systemd, unit
from . import key as keys
from .model import CONFIG, HEALTH_TIMER, HEALTH_UNIT, PROGRAM, PROGRAM_DIR, RUN_DIR, STATE_DIR, UNIT, Engine, Key, Node


def uninstall(name: str, user: str, engine: Engine, key: Key, node: Node) -> list[str]:
    """Stop and remove; returns what was removed. Asked for before, nothing is left. Raises ServeError, OSError."""
    known = record.read(name, node)
    units = (HEALTH_TIMER.format(name), HEALTH_UNIT.format(name), UNIT.format(name))
    for one in units:
        systemd.attempt(node, "disable", "--now", one)
    names = [f"{unit.UNITS}/{one}" for one in units] + [CONFIG.format(name)]
    shared = {PROGRAM, *unit.program()}
    names += [path for path in (known or {}).get("files", {}) if path not in shared and path not in names]
    gone = [path for path in names if node.path(path).exists()]
    for path in gone:
        node.path(path).unlink()
    if keys.remove(key, node):
        gone.append(key.path)
    gone += engine.remove(name, node)
    shutil.rmtree(node.path(STATE_DIR.format(name)), ignore_errors=True)
    for leftover in node.path(RUN_DIR).glob(f"{name}.*"):
        leftover.unlink()
    systemd.command(node, "daemon-reload")
    for one in units:
        systemd.attempt(node, "reset-failed", one)
    return gone + _last(node) + _user(user, node)


def _last(node: Node) -> list[str]:
    """The health program goes with the last service."""
    if any(node.path(CONFIG.format("x")).parent.glob("*.json")) or not node.path(PROGRAM).exists():
        return []
    node.path(PROGRAM).unlink()
    shutil.rmtree(node.path(PROGRAM_DIR), ignore_errors=True)
    return [PROGRAM, PROGRAM_DIR]


def _user(user: str, node: Node) -> list[str]:
    """The service's own user; one that somebody else chose stays."""
    if not user.startswith("mi50-") or checks.user_id(user, node) is None:
        return []
    return [f"the user {user}"] if node.run(["userdel", user], timeout=60).code == 0 else []
