"""A node out of the gateway and back in. One call is one step; who calls waits, and shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from . import admin

_POLL = 0.5


class Seen(NamedTuple):
    """How far it is. `sessions`: streams that are still with the node; `last`: proxies of models nobody else serves."""

    changed: bool
    sessions: int
    last: list[str]
    waiting: list[str]  # servers that are not up yet, and why


class Time(NamedTuple):
    """How long to wait, in seconds, and by which clock."""

    seconds: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def drained(ask: admin.Ask, names: Collection[str], time: Time, *, check: bool = False) -> Seen:
    """Send the servers nothing new, and wait until they are free. Raises GatewayError, OSError."""
    servers, old = admin.every(ask)
    mine = _mine(servers, names)
    shut = admin.closed(ask)
    todo = [one for one in mine if (one.proxy, one.name) not in shut]
    others = {one.proxy for one in servers if one not in mine and one.status.startswith("UP")}
    last = sorted({one.proxy for one in todo} - others)
    if not check:
        for one in todo:
            admin.command(ask, f"set server {one.proxy}/{one.name} state drain")
    end, sessions = time.clock() + time.seconds, admin.busy(servers, old, names)
    while sessions and not check and time.clock() < end:
        time.sleep(_POLL)
        sessions = admin.busy(*admin.every(ask), names)
    return Seen(bool(todo), sessions, last, [])


def ready(ask: admin.Ask, names: Collection[str], time: Time, *, check: bool = False) -> Seen:
    """Take the servers back once HAProxy's own look finds their engines ready. Raises GatewayError, OSError."""
    servers, shut = admin.every(ask)[0], admin.closed(ask)
    todo = [one for one in _mine(servers, names) if (one.proxy, one.name) in shut]
    end, waiting = time.clock() + time.seconds, _down(servers, todo)
    while waiting and not check and time.clock() < end:
        time.sleep(_POLL)
        servers = admin.every(ask)[0]
        waiting = _down(servers, todo)
    if not check and not waiting:
        for one in todo:
            admin.command(ask, f"set server {one.proxy}/{one.name} state ready")
    return Seen(bool(todo), admin.busy(servers, [], names), [], waiting)


def _mine(servers: Sequence[admin.Server], names: Collection[str]) -> list[admin.Server]:
    return [one for one in servers if one.name in names and one.proxy.startswith(admin.MODELS)]


def _down(servers: Sequence[admin.Server], todo: Sequence[admin.Server]) -> list[str]:
    """Of the servers to take back, those whose engine is not up; the look is at the hop behind (`engine-…`)."""
    states = {one.proxy: one for one in servers}
    found = []
    for name in sorted({one.name for one in todo}):
        engine = states.get(f"engine-{name}")
        if engine is None or not engine.status.startswith("UP"):
            found.append(f"{name}: {engine.status.lower()} {engine.check}".strip() if engine else f"{name}: not known")
    return found
