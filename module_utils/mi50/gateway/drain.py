"""A node out of the gateway and back in. One call is one step; who calls waits, and shows how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from . import admin
from .model import GatewayError

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


def drained(
    ask: admin.Ask,
    names: Collection[str],
    time: Time,
    *,
    check: bool = False,
    last_too: bool = False,
    alone: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Seen:
    """Send the servers nothing new, and wait until they are free.

    A model that other servers have too keeps one that is up, unless `last_too`. alone: held while that is decided,
    because nodes are drained side by side. Raises GatewayError when nothing was drained, OSError.
    """
    with alone():
        servers, old = admin.every(ask)
        mine = _mine(servers, names)
        shut = admin.closed(ask)
        todo = [one for one in mine if (one.proxy, one.name) not in shut]
        others = [one for one in servers if one.proxy in {mine.proxy for mine in todo} and one.name not in names]
        last = sorted({one.proxy for one in todo} - {one.proxy for one in others if one.status.startswith("UP")})
        lost = [one for one in others if one.proxy in last]
        if lost and not last_too:
            raise GatewayError(_nobody(names, lost))
        for one in todo if not check else ():
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


def state(seen: Seen, *, wanted: str, check: bool) -> str:
    """What becomes of a node after `drained` or `ready` (`wanted`): `serves` or `drained`; a check does nothing."""
    done = not (seen.waiting or (check and seen.changed))
    return "drained" if (wanted == "drained") == done else "serves"


def out(ask: admin.Ask, nodes: Mapping[str, str]) -> list[str]:
    """Nodes that get nothing by somebody's word; `nodes` by the names of their servers. Raises OSError."""
    shut = {name for proxy, name in admin.closed(ask) if proxy.startswith(admin.MODELS)}
    return sorted({nodes[name] for name in shut if name in nodes})


def engines(ask: admin.Ask, time: Time) -> dict[str, str]:
    """The engines' states; a gateway that has just begun is given the time to look at each. As admin.every raises."""
    end = time.clock() + time.seconds
    while True:
        seen = admin.every(ask)[0]
        states = {one.name: f"{one.status} {one.check}".strip() for one in seen if one.proxy.startswith("engine-")}
        if time.clock() >= end or not any("INI" in text or text.startswith("no check") for text in states.values()):
            return states
        time.sleep(_POLL)


def _nobody(names: Collection[str], lost: Sequence[admin.Server]) -> str:
    shown = ", ".join(sorted({f"{one.name} {one.status.lower()}" for one in lost}))
    models = ", ".join(sorted({one.proxy[len(admin.MODELS) :] for one in lost}))
    return (
        f"{', '.join(sorted(names))} would leave {models} without a node that serves: {shown}. Change fewer nodes at a "
        "time (mi50_serial), take those back first (playbooks/ready.yml), or accept it: -e gateway_drain_last=true. "
        "Nothing was drained."
    )


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
