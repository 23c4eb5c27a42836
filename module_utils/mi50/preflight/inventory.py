"""Layer 1: what can be wrong in an inventory, seen without a connection. Pure, but for the stack files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..stack.api import get_stack
from ..stack.load import StackError, load_stack, nearest
from ..stack.resolve import check_base
from .known import BASE_PREFIXES
from .model import FAIL, OK, SKIP, WARN, Check, mask_url

_SECRET = ("password", "secret", "token", "api_key")
_BOOL_WORDS = ("true", "false", "yes", "no", "on", "off")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "path": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "list": (list, tuple),
    "dict": (dict,),
}


@dataclass(frozen=True)
class HostEntry:
    """What tells two inventory names apart that may be one machine."""

    name: str
    address: str
    port: str
    connection: str


@dataclass(frozen=True)
class Inventory:
    """What layer 1 looks at: variables with this project's prefixes, templated, those that could not be, the hosts."""

    host: str
    variables: dict[str, Any]
    broken: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    hosts: tuple[HostEntry, ...] = ()


def check_inventory(inventory: Inventory, known: dict[str, dict[str, Any]], stacks_dir: Path) -> list[Check]:
    """Return the checks of layer 1; `known` is name -> argument specification."""
    return [
        check_variables(inventory, known),
        check_types(inventory, known),
        check_urls(inventory),
        check_proxies(inventory),
        *check_stack(inventory, stacks_dir),
        check_hosts(inventory),
    ]


def _verdict(check_id: str, title: str, problems: list[str], good: str, remedy: str) -> Check:
    if not problems:
        return Check(check_id, title, OK, good)
    return Check(check_id, title, FAIL, "; ".join(problems), "", remedy)


def check_variables(inventory: Inventory, known: dict[str, dict[str, Any]]) -> Check:
    """Every variable with one of our prefixes exists: a typo would be ignored in silence."""
    problems = []
    for name in sorted({*inventory.variables, *inventory.broken} - set(known)):
        near = nearest(name, sorted(known))
        problems.append(f"unknown variable {name}" + (f", did you mean {near}?" if near else ""))
    problems += [f"{name} cannot be evaluated: {reason}" for name, reason in sorted(inventory.broken.items())]
    remedy = (
        "Correct or remove it in the inventory, group_vars, host_vars or -e; the README of each role lists its "
        "variables"
    )
    return _verdict("inventory.variables", "Variables", problems, "all known", remedy)


def check_types(inventory: Inventory, known: dict[str, dict[str, Any]]) -> Check:
    """Values have the type and are among the choices of the specification."""
    problems = []
    for name, value in sorted(inventory.variables.items()):
        problem = _type_problem(value, known.get(name, {}))
        if problem:
            shown = "***" if any(word in name for word in _SECRET) else repr(value)[:60]
            problems.append(f"{name}: {shown} {problem}")
    remedy = "In YAML write the bare value; on the command line -e '{\"name\": true}', because -e name=true is text"
    return _verdict("inventory.types", "Values", problems, "right types", remedy)


def _type_problem(value: object, spec: dict[str, Any]) -> str:
    """Return what is wrong with a value, or an empty string. None means not set."""
    wanted = spec.get("type", "raw")
    if value is None:
        return ""
    if wanted == "bool" and isinstance(value, str):
        word = value.lower() in _BOOL_WORDS
        return "" if word and spec.get("text_allowed") else "is text, not true or false"
    if wanted == "int" and isinstance(value, str) and value.isdigit():
        return ""
    allowed = _TYPES.get(wanted)
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and wanted != "bool")):
        return f"is not of type {wanted}"
    choices = spec.get("choices")
    if choices and value not in choices:
        return f"is not one of {', '.join(str(choice) for choice in choices)}"
    return ""


def check_urls(inventory: Inventory) -> Check:
    """Base URLs are well formed and carry no password, which would end in logs and apt sources."""
    problems = []
    for name, value in sorted(inventory.variables.items()):
        if not name.startswith(BASE_PREFIXES) or value is None:
            continue
        try:
            check_base(name, value)
        except StackError as exc:
            problems.append(mask_url(str(exc)))
            continue
        if "@" in urlsplit(str(value)).netloc:
            problems.append(f"{name}: {mask_url(str(value))} carries a password; base URLs end in logs and apt sources")
    remedy = (
        "A base is https://host/path (a registry: host[:port]); it replaces the upstream host, the path below stays"
    )
    return _verdict("inventory.urls", "Base URLs", problems, "well formed", remedy)


def check_proxies(inventory: Inventory) -> Check:
    """Proxies are http://[user:password@]host:port."""
    problems = []
    for name in ("mi50_http_proxy", "mi50_https_proxy"):
        value = inventory.variables.get(name)
        if value and not _is_proxy(value):
            problems.append(f"{name}: {mask_url(str(value))!r} is not http://host:port")
    no_proxy = inventory.variables.get("mi50_no_proxy")
    if no_proxy and (not isinstance(no_proxy, str) or "://" in no_proxy):
        problems.append(f"mi50_no_proxy: {no_proxy!r} is not a list of host names separated by commas")
    return _verdict(
        "inventory.proxy", "Proxies", problems, "well formed", "Write mi50_http_proxy: http://proxy.example:3128"
    )


def _is_proxy(value: object) -> bool:
    try:
        parts = urlsplit(str(value))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_stack(inventory: Inventory, stacks_dir: Path) -> list[Check]:
    """The stack exists, is valid, and agrees with its lock; what is not locked yet is listed."""
    name = str(inventory.variables.get("mi50_stack") or "")
    lock = inventory.variables.get("mi50_stack_lock_file")
    overrides = {key: value for key, value in inventory.variables.items() if key.startswith(BASE_PREFIXES)}
    lock_title = "Locked artifacts"
    try:
        load_stack(name, stacks_dir)
    except StackError as exc:
        return [
            Check(
                "inventory.stack", "Stack", FAIL, str(exc), "", "Set mi50_stack to a known stack, or correct the file"
            ),
            Check("stack.lock", lock_title, SKIP, "no stack"),
        ]
    found = Check("inventory.stack", "Stack", OK, name)
    try:
        stack = get_stack(name, stacks_dir, stacks_dir.parent / lock if lock else None, _good(overrides))
    except StackError as exc:
        return [
            found,
            Check("stack.lock", lock_title, FAIL, str(exc), "", "The message names the entry and what to do"),
        ]
    waiting = stack["unlocked"]
    if not waiting:
        return [found, Check("stack.lock", lock_title, OK, "all")]
    remedy = (
        "`ansible-playbook playbooks/mirror.yml -e mi50_lock=true` fetches the files once and records what they are"
    )
    return [found, Check("stack.lock", lock_title, WARN, f"not locked yet: {', '.join(waiting)}", "all", remedy)]


def _good(overrides: dict[str, Any]) -> dict[str, Any]:
    """Drop malformed bases: check_urls reports them, and the stack itself is not to blame."""
    good = {}
    for name, value in overrides.items():
        try:
            good[name] = check_base(name, value) if value is not None else None
        except StackError:
            continue
    return good


def check_hosts(inventory: Inventory) -> Check:
    """The host belongs to the group, and no two names are one machine: parallel apt runs there would fight."""
    problems = []
    if "mi50_nodes" not in inventory.groups:
        problems.append(f"{inventory.host} is not in the group mi50_nodes, whose variables it does not get")
    seen: dict[tuple[str, str], str] = {}
    for entry in inventory.hosts:
        where = ("local", "") if entry.connection == "local" else (entry.address, entry.port)
        if where in seen:
            problems.append(f"{seen[where]} and {entry.name} are the same machine ({' '.join(filter(None, where))})")
        seen.setdefault(where, entry.name)
    remedy = "List each machine once, below mi50_nodes in the inventory"
    return _verdict("inventory.hosts", "Hosts", problems, f"{len(inventory.hosts)} in this play", remedy)
