"""HAProxy's master socket, which reaches every worker, as the management guide describes it (chapters 9.3, 9.4).

A worker that a reload has left behind still carries streams: a node is free when no worker has one of it.
"""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from .model import GatewayError

_LIMIT = 1 << 24
# Proxies that choose a node for a request; the hops behind them would count everything twice.
MODELS = "model-"
_SECONDS = 10.0
_RUNNING = "2"  # srv_op_state
Ask = Callable[[str], str]


class Server(NamedTuple):
    """One server of a backend as a worker sees it. `status`: UP, DOWN, DRAIN, MAINT …; sessions, queued ones."""

    proxy: str
    name: str
    status: str
    sessions: int
    queued: int
    check: str  # why it is down, in HAProxy's words


def asker(path: Path) -> Ask:
    """Return what sends one command to a socket and gives its answer. That raises GatewayError, and OSError."""

    def ask(command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(_SECONDS)
            one.connect(str(path))
            one.sendall(f"{command}\n".encode())
            one.shutdown(socket.SHUT_WR)
            data = b""
            while more := one.recv(65536):
                data += more
                if len(data) > _LIMIT:
                    raise GatewayError(f"{path}: the answer to {command!r} has no end")
        return data.decode(errors="replace")

    return ask


def workers(text: str) -> tuple[int, list[int]]:
    """Return the id of the present worker (0: none) and those of old ones, from `show proc`.

    Lines are `<pid> worker <reloads> <uptime> <version>` below `# workers` and `# old workers`.
    """
    now, old, part = 0, [], ""
    for line in text.splitlines():
        if line.startswith("#"):
            part = line.lstrip("# ").strip()
        elif (found := re.match(r"(\d+)\s+(?:worker|\[?worker)", line)) and part in ("workers", "old workers"):
            if part == "workers":
                now = int(found[1])
            else:
                old.append(int(found[1]))
    return now, old


def stat(text: str) -> list[Server]:
    """Return the servers in `show stat`, which is CSV with its header after `# `. Raises GatewayError."""
    lines = [line for line in text.lstrip().removeprefix("# ").splitlines() if line.strip()]
    rows = list(csv.DictReader(lines))
    try:
        return [
            Server(row["pxname"], row["svname"], row["status"], int(row["scur"] or 0), int(row["qcur"] or 0),
                   " ".join(filter(None, (row.get("check_status"), row.get("last_chk")))))
            for row in rows
            if row["svname"] not in ("FRONTEND", "BACKEND")
        ]  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise GatewayError(
            f"HAProxy's statistics cannot be read ({error!r}): {' '.join(text.split())[:200]}"
        ) from error


def every(ask: Ask) -> tuple[list[Server], list[list[Server]]]:
    """The servers as the present worker and each old one see them. Raises GatewayError, OSError."""
    now, old = workers(ask("show proc"))
    if not now:
        raise GatewayError("HAProxy's master has no worker: journalctl -u mi50-gateway")
    seen = []
    for pid in old:
        try:
            seen.append(stat(ask(f"@!{pid} show stat")))
        except (GatewayError, OSError):
            continue  # it ended meanwhile
    return stat(ask("@1 show stat")), seen


def busy(now: Iterable[Server], old: Iterable[Iterable[Server]], names: Collection[str]) -> int:
    """Sessions that are still with servers of these names, in every worker."""
    found = [one for part in (now, *old) for one in part if one.name in names and one.proxy.startswith(MODELS)]
    return sum(one.sessions + one.queued for one in found)


def command(ask: Ask, text: str) -> None:
    """Send a command to the present worker that answers nothing when it worked. Raises GatewayError, OSError."""
    said = ask(f"@1 {text}").strip()
    if said:
        raise GatewayError(f"HAProxy refuses {text!r}: {said}")


def closed(ask: Ask) -> set[tuple[str, str]]:
    """(proxy, server) of those that get nothing new by somebody's word, whatever their engine's state."""
    rows = [line.split() for line in ask("@1 show servers state").splitlines() if not line.startswith("#")]
    return {(row[1], row[3]) for row in rows if _shut(row)}


def state(ask: Ask, moved: Collection[str] = ()) -> str:
    """What `server-state-file` is to hold, so that nodes stay drained, and dead ones down, through a reload.

    moved: proxies whose server has another address now; they begin anew. A server that follows another is told of
    changes alone, and would stay down with one that moved: of those that follow, only being drained is kept.
    """
    # Version 1 of the format: be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...
    found = []
    for line in ask("@1 show servers state").splitlines():
        row = line.split(" ")
        if line.startswith("#") or len(row) < 2:
            found += [line] if line.strip() else []
        elif row[1].startswith(MODELS):
            found += [" ".join([*row[:5], _RUNNING, *row[6:]])] if _shut(row) else []
        elif row[1] not in moved:
            found.append(line)
    return "".join(f"{line}\n" for line in found)


def _shut(row: list[str]) -> bool:
    """srv_admin_state is the seventh field of `show servers state`: 0x01 forced maintenance, 0x08 forced drain."""
    return len(row) > 6 and row[6].isdigit() and bool(int(row[6]) & 0x09)
