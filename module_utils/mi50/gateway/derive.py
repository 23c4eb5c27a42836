"""From the inventory to the engines behind the gateway. Pure; runs on the controller, before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..addresses import LOCAL, anywhere, local, loopback
from .model import MODEL_NAME, NAME, Engine

# Role of an engine -> its variable for requests at a time. ComfyUI is no language model's server.
ENGINES = {
    "vllm": "max_requests",
    "lmdeploy": "max_requests",
    "llama_cpp": "parallel",
    "lmstudio": "parallel",
    "ollama": "parallel",
}
OPTIONS = ("enabled", "state", "bind", "port", "model", "alias", "api_key_file", "parallel", "max_requests")
_FOLDERS = ("vllm", "lmdeploy")  # their model is a folder; of the others a file, whose suffix is no part of the name
_GIVEN = {"model": str, "address": str, "port": int, "node": str, "name": str, "key_file": str, "slots": int}


@dataclass(frozen=True)
class Host:
    """A node of the inventory: its name, the address the controller uses, and its engines' variables, evaluated.

    engines: role -> option -> value, the role's defaults included. address_for_gateway: `gateway_address`, or "".
    broken: variables that could not be evaluated, with the reason.
    """

    name: str
    address: str
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    address_for_gateway: str = ""
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the gateway's own variables say: explicit backends, models that must be there, its own ports."""

    backends: Sequence[Mapping[str, Any]] = ()
    models: Sequence[str] = ()
    ports: Mapping[str, int] = field(default_factory=dict)


def derive(gateway: str, hosts: Iterable[Host], asked: Asked) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the engines as mappings, and everything that is wrong, a sentence each. Raises nothing."""
    engines: list[Engine] = []
    problems: list[str] = []
    for host in hosts:
        problems += [f"{host.name}: {text}" for text in host.broken]
        for role, options in host.engines.items():
            found, wrong = _engine(gateway, host, role, options)
            problems += wrong
            engines += [found] if found else []
    for number, given in enumerate(asked.backends):
        found, wrong = _explicit(number, given)
        problems += wrong
        engines += [found] if found else []
    engines = _joined(engines)
    problems += _clashes(gateway, engines, asked.ports) + _models(engines, asked.models, problems)
    return [{**asdict(engine), "models": list(engine.models)} for engine in engines], list(dict.fromkeys(problems))


def _engine(gateway: str, host: Host, role: str, options: Mapping[str, Any]) -> tuple[Engine | None, list[str]]:
    problems = []
    model = str(options.get("alias") or _stem(role, str(options.get("model") or "")))
    if not model:
        problems.append(f"{host.name}: {role}_model is empty, so no request could name it: set it, or {role}_alias")
    elif not MODEL_NAME.fullmatch(model):
        problems.append(f"{host.name}: the model name {model!r} cannot be routed by: set {role}_alias to letters, "
                        "digits and ._:/@+-")  # fmt: skip
    address, wrong = _address(gateway, host, role, str(options.get("bind") or LOCAL))
    problems += wrong
    port = _number(options.get("port"))
    if not 1 <= port <= 65535:
        problems.append(f"{host.name}: {role}_port is {options.get('port')!r}: give 1 to 65535")
    name = f"{host.name}-{role}"
    if not NAME.fullmatch(name):
        problems.append(f"{host.name}: the host's name cannot be a server's in HAProxy: letters, digits, _ . - alone")
    if problems:
        return None, problems
    key_file = str(options.get("api_key_file") or "")
    slots = max(0, _number(options.get(ENGINES[role])))
    return Engine(name, host.name, role, address, port, (model,), "node" if key_file else "", key_file, slots), []


def _stem(role: str, path: str) -> str:
    """A model's name as the engine makes it of its path (serve.parts.stem; vLLM and lmdeploy take the folder's)."""
    last = path.rstrip("/").rpartition("/")[2]
    return last if role in _FOLDERS else last.rpartition(".")[0]


def _address(gateway: str, host: Host, role: str, bind: str) -> tuple[str, list[str]]:
    """Where the gateway reaches an engine, or why it cannot."""
    if host.name == gateway:
        return local(bind), []
    if loopback(bind):
        return "", [
            f"{host.name}: {role}_bind is {bind}, which {gateway} cannot reach: set {role}_bind to the node's address "
            f"in the rack's network, or to 0.0.0.0 (its key protects it, but plain HTTP carries the key)"
        ]
    address = host.address_for_gateway or (host.address if anywhere(bind) else bind)
    if loopback(address):
        return "", [f"{host.name}: its address is {address}, which is {gateway} itself there: set gateway_address"]
    return address, []


def _explicit(number: int, given: Mapping[str, Any]) -> tuple[Engine | None, list[str]]:
    """One entry of gateway_backends."""
    where = f"gateway_backends[{number}]"
    if not isinstance(given, Mapping):
        return None, [f"{where} is {given!r}: give a mapping with model, address and port"]
    problems = [f"{where} has the unknown key {name}: known are {', '.join(_GIVEN)}" for name in given
                if name not in _GIVEN]  # fmt: skip
    problems += [f"{where} lacks {name}" for name in ("model", "address", "port") if not given.get(name)]
    model, port = str(given.get("model") or "-"), _number(given.get("port"))
    address = str(given.get("address") or "")
    name = str(given.get("name") or f"{given.get('node') or address}-{port}".replace(":", "."))
    if not MODEL_NAME.fullmatch(model) and given.get("model"):
        problems.append(f"{where}: the model name {model!r} cannot be routed by: letters, digits and ._:/@+-")
    if given.get("port") and not 1 <= port <= 65535:
        problems.append(f"{where}: port is {given['port']!r}: give 1 to 65535")
    if not NAME.fullmatch(name):
        problems.append(f"{where}: the name {name!r} cannot be a server's in HAProxy: letters, digits, _ . - alone")
    key_file = str(given.get("key_file") or "")
    if key_file and not key_file.startswith("/"):
        problems.append(f"{where}: key_file is {key_file!r}: give the path of a file on the gateway's host")
    if problems:
        return None, problems
    slots, key = max(0, _number(given.get("slots"))), "file" if key_file else ""
    return Engine(name, str(given.get("node") or name), "openai", address, port, (model,), key, key_file, slots), []


def _joined(engines: Iterable[Engine]) -> list[Engine]:
    """Entries that name the same server for several models become one."""
    found: dict[Engine, list[str]] = {}
    for engine in engines:
        plain = Engine(**{**asdict(engine), "models": ()})
        found.setdefault(plain, []).extend(engine.models)
    return [Engine(**{**asdict(one), "models": tuple(dict.fromkeys(models))}) for one, models in found.items()]


def _clashes(gateway: str, engines: Sequence[Engine], ports: Mapping[str, int]) -> list[str]:
    problems = []
    seen: dict[tuple[str, int], str] = {}
    names: set[str] = set()
    for engine in engines:
        where = (engine.node if engine.key == "node" else engine.address, engine.port)
        if where in seen:
            problems.append(f"{seen[where]} and {engine.name} both claim port {engine.port} of {where[0]}: "
                            "give one of them another port")  # fmt: skip
        elif engine.name in names:
            problems.append(f"two backends are called {engine.name}: give one of them another name")
        seen.setdefault(where, engine.name)
        names.add(engine.name)
        for name, port in ports.items():
            if engine.port == port and (engine.node == gateway or loopback(engine.address)):
                problems.append(
                    f"{name} is {port}, which {engine.name} listens on at the same host: change one of them"
                )
    own: dict[int, str] = {}
    for name, port in ports.items():
        if port in own:
            problems.append(f"{own[port]} and {name} are both {port}: give them ports of their own")
        own.setdefault(port, name)
    return problems


def _models(engines: Sequence[Engine], wanted: Sequence[str], before: Sequence[str]) -> list[str]:
    served = {model for engine in engines for model in engine.models}
    if not engines and not before:
        return ["no node of mi50_nodes has an engine for language models, and gateway_backends is empty: name engines "
                "in mi50_engines, or give backends"]  # fmt: skip
    shown = ", ".join(sorted(served)) or "none"
    return [f"no backend for the model {name!r} of gateway_models; the inventory serves {shown}"
            for name in wanted if name not in served]  # fmt: skip


def _number(value: object) -> int:
    try:
        return int(str(value or 0))
    except ValueError:
        return -1
