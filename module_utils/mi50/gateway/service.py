"""One call does the gateway: `plan` says what would change, `apply` does it. Check mode stops after plan."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import config_files, seal
from ..serve import checks, systemd, user
from ..serve.model import Node
from . import clients, render, tls, unit
from .files import read_map, write
from .model import (
    CLIENT_KEYS,
    FOLDER,
    LOCK,
    PACKAGES,
    PAIR,
    STATE,
    UNIT,
    UNIT_FILE,
    USER,
    Engine,
    GatewayError,
    Settings,
)
from .switch import reload, switch

_SECRET = ("engines.map", "tls.pem")
_ASK_SECONDS = 5.0


@dataclass
class Plan:
    """What `apply` will do. `reasons` are lines for people; empty: nothing is left to do.

    wanted: engines whose key the gateway lacks, or holds and the engine refuses. texts: files below FOLDER by name.
    """

    settings: Settings
    engines: Sequence[Engine]
    missing: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    changed: list[str] = field(default_factory=list)
    unit: config_files.Change | None = None
    warnings: list[str] = field(default_factory=list)


def plan(settings: Settings, engines: Sequence[Engine], sealed: Mapping[str, str], node: Node) -> Plan:
    """Look at everything, change nothing. Raises GatewayError with every problem at once, SealError, OSError."""
    todo = Plan(settings, engines)
    todo.missing = [package for program, package in PACKAGES.items() if not node.path(program).exists()]
    problems: list[str] = []
    if not todo.missing:
        problems, todo.warnings = tls.problems(settings, node)
    problems += clients.problems(settings, node) + _ports(settings, node) + _key_files(engines, node)
    if problems:
        raise GatewayError("gateway: " + "; ".join(dict.fromkeys(problems)) + ". Nothing was changed.")
    todo.reasons = [f"the package {name} is installed" for name in todo.missing]
    todo.keys, todo.wanted = _keys(engines, sealed, node)
    if todo.missing:
        todo.reasons.append(f"{UNIT} is made")
        return todo
    todo.reasons += [f"the key of client {name} is written" for name in clients.missing(settings, node)]
    todo.reasons += [f"the key of client {name} is withdrawn" for name in clients.withdrawn(settings, node)]
    _files(todo, clients.known(settings.clients, node), node)
    state = systemd.state(UNIT, node)
    if state.active != "active":
        todo.reasons.append(f"{UNIT} is {state.active or 'not there'}")
    elif state.enabled != "enabled" or state.stale:
        todo.reasons.append(f"{UNIT} is not enabled, or systemd has not read it")
    return todo


def apply(todo: Plan, node: Node) -> None:
    """Do what is planned. Raises GatewayError and ServeError (what served before serves on), OSError."""
    if not todo.reasons or todo.missing:
        return
    owner = user.ensure(USER, "/nonexistent", node)
    _files(todo, clients.ensure(todo.settings, node), node)
    _try(todo, owner, node)
    switch(todo.texts, unit.text(todo.settings), owner, {engine.name: engine.where for engine in todo.engines}, node)


def diff(todo: Plan) -> list[dict[str, Any]]:
    """In the form Ansible prints, without the files that hold keys or their digests."""
    found = [todo.unit.diff()] if todo.unit else []
    for name in todo.changed:
        if name in (*_SECRET, "clients.map"):
            found.append({"before_header": name, "after_header": name, "before": "", "after": "(keys: not shown)\n"})
        else:
            path = f"{FOLDER}/{name}"
            before = todo.texts[f"before {name}"]
            found.append({"before_header": path, "after_header": path, "before": before, "after": todo.texts[name]})
    lines = [line for line in todo.reasons if not line.startswith(("/", FOLDER))]
    if lines:
        found.append({"before_header": "gateway", "after_header": "gateway", "before": "",
                      "after": "".join(f"{line}\n" for line in lines)})  # fmt: skip
    return found


def remove(node: Node, *, check: bool) -> list[str]:
    """Stop and remove everything of the gateway but the packages; returns what. Raises ServeError, OSError."""
    names = [UNIT_FILE, FOLDER, CLIENT_KEYS, PAIR, STATE.rpartition("/")[0], LOCK]
    there = [name for name in names if node.path(name).exists()]
    if checks.user_id(USER, node) is not None:
        there.append(f"the user {USER}")
    if check or not there:
        return there
    systemd.attempt(node, "disable", "--now", UNIT)
    for name in names:
        path = node.path(name)
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    keys = node.path(CLIENT_KEYS).parent
    if keys.is_dir() and not any(keys.iterdir()):
        keys.rmdir()
    systemd.command(node, "daemon-reload")
    systemd.attempt(node, "reset-failed", UNIT)
    if checks.user_id(USER, node) is not None:
        node.run(["userdel", USER], timeout=60)
    return there


def nodes(node: Node) -> dict[str, str]:
    """The node of each server in the gateway as it serves now, whatever the inventory says. Raises OSError."""
    return read_map(node.path(f"{FOLDER}/nodes.map"))


def of_node(name: str, node: Node) -> list[str]:
    """Servers of a node, likewise. Raises OSError."""
    return [server for server, where in nodes(node).items() if where == name]


def renew(sealed: Mapping[str, str], node: Node) -> list[str]:
    """Take over keys that nodes have made anew; returns whose. Raises GatewayError, ServeError, SealError, OSError."""
    path = node.path(f"{FOLDER}/engines.map")
    held = read_map(path)
    fresh = {name: seal.unseal(text, node.path(PAIR), node.run) for name, text in sealed.items() if name in held}
    changed = [name for name, key in fresh.items() if held[name] != key]
    if changed:
        write(path, render.engine_keys({**held, **fresh}), path.stat().st_uid)
        reload(node)
    return changed


def _files(todo: Plan, known: Mapping[str, str], node: Node) -> None:
    """Complete the plan with the files' texts and which of them change."""
    texts = {"haproxy.cfg": render.configuration(todo.engines, todo.settings)}
    texts.update(render.others(todo.engines, known))
    texts["engines.map"] = render.engine_keys(todo.keys)
    if todo.settings.certificate:
        texts["tls.pem"] = tls.joined(todo.settings, node)
    owner = checks.user_id(USER, node)
    changed = []
    for name, text in list(texts.items()):
        path = node.path(f"{FOLDER}/{name}")
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        texts[f"before {name}"] = before
        if before != text or not path.exists() or path.stat().st_uid != owner:
            changed.append(name)
    wanted = config_files.File(node.path(UNIT_FILE), unit.text(todo.settings))
    todo.unit = next(iter(config_files.plan([wanted])), None)
    todo.texts, todo.changed = texts, changed
    todo.reasons = [line for line in todo.reasons if not line.startswith("/")]
    todo.reasons += [f"{FOLDER}/{name} changes" for name in changed]
    todo.reasons += [f"{UNIT_FILE} changes"] if todo.unit else []


def _keys(engines: Sequence[Engine], sealed: Mapping[str, str], node: Node) -> tuple[dict[str, str], list[str]]:
    """Keys by engine, and engines of which there is none that they take."""
    held = read_map(node.path(f"{FOLDER}/engines.map"))
    found, wanted = {}, []
    for engine in engines:
        if engine.key == "file":
            found[engine.name] = node.path(engine.key_file).read_text(encoding="utf-8").strip()
        elif engine.key == "node":
            fresh = engine.name in sealed
            key = seal.unseal(sealed[engine.name], node.path(PAIR), node.run) if fresh else held.get(engine.name, "")
            if key:
                found[engine.name] = key
            if not fresh and (not key or _refused(engine, key)):
                wanted.append(engine.name)
    return found, wanted


def _refused(engine: Engine, key: str) -> bool:
    """Whether the engine says that this is not its key. One that does not answer says nothing."""
    connection = http.client.HTTPConnection(engine.address, engine.port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _key_files(engines: Sequence[Engine], node: Node) -> list[str]:
    found = []
    for engine in engines:
        if engine.key == "file":
            try:
                empty = not node.path(engine.key_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                found.append(f"{engine.name}: the key file {engine.key_file} cannot be read ({error})")
            else:
                found += [f"{engine.name}: the key file {engine.key_file} is empty"] if empty else []
    return found


def _ports(settings: Settings, node: Node) -> list[str]:
    """A port that something else has."""
    found = [f"{name} is {port}: give 1 to 65535" for name, port in
             (("gateway_port", settings.port), ("gateway_metrics_port", settings.metrics_port))
             if not 1 <= port <= 65535]  # fmt: skip
    if found:
        return found
    for name, port in (("gateway_port", settings.port), ("gateway_metrics_port", settings.metrics_port)):
        who = checks.holder(port, node)
        if who is not None and f"/{UNIT}" not in who[1] and not (who[1] == "" and _ours(port, node)):
            found.append(f"port {port} is taken by {who[0] or 'another program'}: stop it, or set {name}")
    return found


def _ours(port: int, node: Node) -> bool:
    """Whether the gateway listens on a port, as installed: in a container even root may not see whose a socket is."""
    try:
        text = node.path(f"{FOLDER}/haproxy.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    bound = re.search(rf"^    bind \S+:{port}\b", text, re.MULTILINE)
    return bound is not None and systemd.state(UNIT, node).active == "active"


def _try(todo: Plan, owner: int, node: Node) -> None:
    """Have HAProxy read the new configuration, beside the one that serves. Raises GatewayError."""
    digest = hashlib.sha256(todo.texts["haproxy.cfg"].encode()).hexdigest()[:8]
    folder = f"{FOLDER}.try-{digest}"
    try:
        for name, text in todo.texts.items():
            if not name.startswith("before "):
                write(node.path(f"{folder}/{name}"), text, owner)
        cfg = render.configuration(todo.engines, todo.settings, folder)
        write(node.path(f"{folder}/haproxy.cfg"), cfg, owner)
        done = node.run(["haproxy", "-c", "-f", str(node.path(f"{folder}/haproxy.cfg"))], timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GatewayError(f"haproxy cannot be started: {error}. Nothing was switched.") from error
    finally:
        shutil.rmtree(node.path(folder), ignore_errors=True)
    if done.code:
        words = " ".join((done.errors or done.output).decode(errors="replace").split())[:1500]
        raise GatewayError(f"HAProxy refuses the configuration: {words}. Nothing was switched; what served serves on.")
