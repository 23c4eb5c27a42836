"""One call does a service: `plan` says what would change, `apply` does and proves it. Check mode stops after plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import config_files
from . import checks, gpus, question, record, switch, systemd, uninstall, unit, user
from . import key as keys
from .engines import ENGINES
from .model import (
    CONFIG,
    HEALTH_TIMER,
    PROGRAM,
    PROGRAM_DIR,
    RUN_DIR,
    Common,
    Engine,
    Key,
    Later,
    Node,
    Proof,
    ServeError,
    Service,
)

# Files that the running server does not read: a change in them is no reason to start it anew.
_ASIDE = ("-health.service", "-health.timer")


class Plan(NamedTuple):
    """What `apply` will do. `reasons` are lines for people; empty: nothing is left to do."""

    service: Service
    common: Common
    engine: Engine
    options: Mapping[str, Any]
    rendered: list[config_files.File]
    changes: list[config_files.Change]
    reasons: list[str]
    restart: bool
    asked: str
    warnings: list[str]


def common(params: Mapping[str, Any], node: Node) -> tuple[Common, list[str]]:
    """The options all engines have, with the chosen cards, and what is wrong with them."""
    chosen, problems = gpus.choose(node, params["gpus"], software=params["allow_software"])
    if not 1 <= params["port"] <= 65535:
        problems.append(f"{params['name']}_port is {params['port']}: give 1 to 65535")
    if params["name"] not in ENGINES:
        problems.append(f"there is no engine {params['name']!r}; known: {', '.join(sorted(ENGINES))}")
    key = Key(params["api_key_file"], params.get("api_key") or "")
    return (
        Common(
            name=params["name"],
            user=params["user"] or f"mi50-{params['name']}",
            bind=params["bind"],
            port=params["port"],
            key=key,
            gpus=tuple(chosen),
            floor=params["min_tokens_per_second"],
            software=params["allow_software"],
            small_bar=params["allow_small_bar"],
            load_timeout=params["load_timeout"],
            answer_timeout=params["answer_timeout"],
            interval=params["health_interval"],
            live_timeout=params["health_timeout"],
            completion_every=params["health_completion_every"],
        ),
        problems,
    )


def plan(params: Mapping[str, Any], node: Node, *, check: bool = False) -> Plan | None:
    """Look at everything, change nothing. Raises ServeError with every problem at once.

    None: in a check, all that is wrong is what another role of the same run would have mended before.
    """
    base, problems = common(params, node)
    if params["name"] not in ENGINES:
        raise ServeError("; ".join(problems))
    engine = ENGINES[params["name"]]
    if engine.VULKAN and not base.small_bar:
        small = [text for gpu in base.gpus if (text := gpus.small_window(gpu))]
        problems += [f"{text} ({base.name}_allow_small_bar: true)" for text in small]
    definition = engine.define(base, params["options"], node)
    problems += definition.problems
    problems += checks.everything(base, definition.service, node)
    if problems and check and all(isinstance(text, Later) for text in problems):
        return None
    if problems or definition.service is None:
        raise ServeError(f"{base.name}: " + "; ".join(dict.fromkeys(problems)) + ". Nothing was changed.")
    service = definition.service
    rendered = unit.render(service, node)
    changes = config_files.plan(rendered)
    asked = params["asked"] or fingerprint(params)
    reasons, restart = _reasons(service, engine, params, node, changes, asked)
    return Plan(
        service, base, engine, params["options"], rendered, changes, reasons, restart, asked, definition.warnings
    )


def apply(todo: Plan, node: Node) -> Proof | None:
    """Do what is planned and prove it; None when there was nothing to do. Raises ServeError, OSError."""
    if not todo.reasons:
        return None
    service, engine = todo.service, todo.engine
    owner = user.ensure(service.user, f"/var/lib/mi50-aipc/{service.name}", node)
    for line in engine.pending(service, todo.options, node):
        node.say(line)
    engine.install(service, todo.options, node)
    keys.ensure(service.key, node, owner)
    known = record.read(service.name, node)
    doing = switch.Switch(service, todo.common, engine, node)
    proof = doing.apply(todo.rendered, todo.asked) if todo.restart else doing.prove(todo.rendered, todo.asked)
    engine.prune(service, node, list((known or {}).get("facts", {}).get("program", [])))
    return proof


def prove(todo: Plan, node: Node) -> Proof:
    """Ask the running service for a completion, judged as on its first day; changes nothing. Raises ServeError."""
    if todo.restart:
        raise ServeError(f"{todo.service.name} is not as it shall be: {'; '.join(todo.reasons)}. Run its role first.")
    return switch.Switch(todo.service, todo.common, todo.engine, node).proof(0)


def installed(params: Mapping[str, Any], node: Node) -> bool:
    """Tell whether there is anything of a service to remove."""
    names = [f"{unit.UNITS}/mi50-{params['name']}.service", CONFIG.format(params["name"]), params["api_key_file"]]
    there = any(node.path(name).exists() for name in names if name)
    return there or record.read(params["name"], node) is not None


def remove(params: Mapping[str, Any], node: Node) -> list[str]:
    """Remove everything of a service but models; returns what. Raises ServeError, OSError."""
    if params["name"] not in ENGINES:
        raise ServeError(f"there is no engine {params['name']!r}; known: {', '.join(sorted(ENGINES))}")
    user = params["user"] or f"mi50-{params['name']}"
    return uninstall.uninstall(params["name"], user, ENGINES[params["name"]], Key(params["api_key_file"]), node)


def status(name: str, node: Node) -> dict[str, Any]:
    """What is known of a service: unit, last look of the health program, last proof. JSON without a secret."""
    known = record.read(name, node)
    state = systemd.state(f"mi50-{name}.service", node)
    try:
        seen = json.loads(node.path(f"{RUN_DIR}/{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = {}
    return {
        "name": name,
        "unit": {"active": state.active, "enabled": state.enabled, "restarts": state.restarts},
        "state": seen.get("state", ""),
        "health": seen,
        "proof": (known or {}).get("proof", {}),
        "facts": (known or {}).get("facts", {}),
    }


def fingerprint(params: Mapping[str, Any]) -> str:
    """A digest of what was asked for. A key that was given counts only by whether there is one."""
    plain = {key: value for key, value in params.items() if key not in ("asked", "api_key", "state")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def _reasons(
    service: Service,
    engine: Engine,
    params: Mapping[str, Any],
    node: Node,
    changes: list[config_files.Change],
    asked: str,
) -> tuple[list[str], bool]:
    """Why there is something to do, and whether the server has to be started anew for it."""
    reasons = [f"{change.file.path} {'is new' if change.before is None else 'changes'}" for change in changes]
    aside = {str(node.path(path)) for path in unit.program()}
    restart = any(not _aside(change.file.path, aside) for change in changes)
    todo = engine.pending(service, params["options"], node)
    owner = checks.user_id(service.user, node)
    key, user = bool(service.key.path) and keys.differs(service.key, node, owner), owner is None
    state = systemd.state(service.unit_name, node)
    timer = systemd.state(HEALTH_TIMER.format(service.name), node)
    known = record.read(service.name, node)
    reasons += todo + (["the key is written"] if key else []) + ([f"the user {service.user} is made"] if user else [])
    restart = restart or bool(todo) or key or user
    if state.active != "active":
        reasons.append(f"{service.unit_name} is {state.active or 'not there'}")
        restart = True
    elif state.enabled != "enabled" or state.stale:
        reasons.append(f"{service.unit_name} is not enabled, or systemd has not read it")
    if timer.active != "active" or timer.enabled != "enabled":
        reasons.append(f"{HEALTH_TIMER.format(service.name)} does not run")
    word, text = _last_look(service.name, node)
    if word not in ("", "ready", "loading") and state.active == "active":
        reasons.append(f"the last look said: {word}: {text}")
    if known is None or known["asked"] != asked:
        reasons.append("it is to be proven that the model answers on the GPU")
        restart = restart or known is None
    elif (lost := question.drift(known, node.root, node.sysfs)) and not changes:
        reasons += lost
        restart = restart or any("not the file" in line or "not render" in line for line in lost)
    return reasons, restart


def _last_look(name: str, node: Node) -> tuple[str, str]:
    """State and sentence of the health program's last look; empty before the first."""
    try:
        seen = json.loads(node.path(f"{RUN_DIR}/{name}.json").read_text(encoding="utf-8"))
        return str(seen["state"]), str(seen["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def _aside(path: Path, program: set[str]) -> bool:
    name = str(path)
    return name in program or name.endswith(_ASIDE) or "/mi50-aipc/serve/" in name


def diff(todo: Plan) -> list[dict[str, Any]]:
    """In the form Ansible prints: files, then what else is done."""
    own = (PROGRAM, PROGRAM_DIR)
    # The program is this project's; its text would hide what somebody asked for.
    found = [change.diff() for change in todo.changes if not str(change.file.path).startswith(own)]
    rest = [line for line in todo.reasons if not line.startswith("/") or line.startswith(own)]
    if rest:
        found.append({"before_header": todo.service.name, "after_header": todo.service.name, "before": "",
                      "after": "\n".join(rest) + "\n"})  # fmt: skip
    return found
