"""Engines as an inventory describes them (`benchmark_engines`), checked, and as the steps of a run.

A step is one server process: it is started alone, measured, and stopped again. An engine whose models are served by
different units gives one step a unit.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

KINDS = ("llama.cpp", "lmstudio", "vllm", "lmdeploy", "ollama", "openai")
ALIASES = {"llama_cpp": "llama.cpp", "llamacpp": "llama.cpp", "lm_studio": "lmstudio"}
_SERVER = ("url", "unit", "api_key_file", "ca_file")
_IDENTITY = ("version", "commit", "image_digest", "backend")
_ENGINE_KEYS = (*_SERVER, *_IDENTITY, "name", "kind", "model", "models", "gpu")
_MODEL_FACTS = ("file", "sha256", "bytes", "format", "bpw", "kv_type", "mmproj_sha256", "context", "roofline")
_MODEL_KEYS = (*_SERVER, *_MODEL_FACTS, "requested", "unsupported")
# It becomes part of file names.
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_UNIT = re.compile(r"^[A-Za-z0-9@:._\\-]+\.service$")


class DefinitionError(Exception):
    """Everything that is wrong with the engines of a host, in one message for the user."""


class Step(NamedTuple):
    """One server process: `engine` as llm_benchmark takes it, `models` by the suite's keys as it takes them."""

    engine: dict[str, Any]
    unit: str
    gpu: str
    models: dict[str, dict[str, Any]]


def parse(raw: object, suite_models: dict[str, str]) -> list[Step]:
    """Return the steps of `benchmark_engines`; `suite_models` gives the name of every model of the suite by its key.

    A model of the suite that an engine does not serve becomes `unsupported`, with the reason, so that the table has no
    hole. Raises DefinitionError.
    """
    if not isinstance(raw, list) or not raw:
        none = "" if raw else ", and no engine of this repository's roles is installed here (docs/serving.md)"
        raise DefinitionError(
            f"benchmark_engines is {_short(raw)}{none}: give a list of engines, each with name, kind, url and model "
            "(roles/benchmark/README.md)"
        )
    problems: list[str] = []
    steps: list[Step] = []
    names: list[str] = []
    for number, engine in enumerate(raw, 1):
        where = f"benchmark_engines[{number}]"
        if not isinstance(engine, dict):
            problems.append(f"{where} is {_short(engine)}, not a mapping with name, kind, url and model")
            continue
        where = f"engine {engine['name']!r}" if isinstance(engine.get("name"), str) else where
        found = _engine_problems(where, engine, suite_models)
        if engine.get("name") in names:
            found.append(f"{where} is there twice; names are what the report's rows are called")
        names.append(str(engine.get("name")))
        problems += found
        if not found:
            steps += _steps(engine, suite_models)
    if problems:
        raise DefinitionError("; ".join(problems))
    return steps


def kind_of(value: object) -> str:
    """Return the adapter's name for what an inventory may call it."""
    return ALIASES.get(str(value), str(value))


def units(steps: list[Step]) -> list[str]:
    """Return the units of all engines, each once, in order."""
    return list(dict.fromkeys(step.unit for step in steps if step.unit))


def _engine_problems(where: str, engine: dict[str, Any], suite_models: dict[str, str]) -> list[str]:
    found = _unknown(where, engine, _ENGINE_KEYS)
    for key in ("name", "url"):
        if not isinstance(engine.get(key), str) or not engine[key]:
            found.append(f"{where} has no {key}")
    if isinstance(engine.get("name"), str) and engine["name"] and not _NAME.match(engine["name"]):
        found.append(f"{where}: the name becomes a file name: letters, digits, dots and dashes only")
    if kind_of(engine.get("kind", "openai")) not in KINDS:
        found.append(f"{where}: kind {engine['kind']!r} is not one of {', '.join(KINDS)}")
    found += _server_problems(where, engine)
    if "gpu" in engine and not isinstance(engine["gpu"], str):
        found.append(f"{where}: gpu is {_short(engine['gpu'])}, not a PCI address in quotes")
    return found + _models_problems(where, engine, suite_models)


def _models_problems(where: str, engine: dict[str, Any], suite_models: dict[str, str]) -> list[str]:
    found = []
    if ("model" in engine) == ("models" in engine):
        found.append(f"{where}: give either model (one for all tasks) or models (by the suite's keys)")
    elif "model" in engine:
        found += _model_problems(f"{where}: model", engine["model"])
    elif not isinstance(engine["models"], dict) or not engine["models"]:
        found.append(f"{where}: models is {_short(engine['models'])}, not a mapping of the suite's keys to models")
    else:
        for key, model in engine["models"].items():
            if key not in suite_models:
                found.append(f"{where}: models: the suite has no {key!r}; it has {', '.join(suite_models)}")
            found += _model_problems(f"{where}: models: {key}", model)
    return found


def _model_problems(where: str, model: object) -> list[str]:
    if isinstance(model, str):
        return [] if model else [f"{where} is empty"]
    if not isinstance(model, dict):
        return [f"{where} is {_short(model)}, not a name or a mapping"]
    found = _unknown(where, model, _MODEL_KEYS)
    if not isinstance(model.get("requested", ""), str) or not (model.get("requested") or model.get("unsupported")):
        found.append(f"{where} has no requested: the name that the server knows the model by")
    if "unsupported" in model and not isinstance(model["unsupported"], str):
        found.append(f"{where}: unsupported is {_short(model['unsupported'])}, not the reason in words")
    return found + _server_problems(where, model)


def _server_problems(where: str, server: dict[str, Any]) -> list[str]:
    found = []
    if isinstance(server.get("url"), str) and server["url"]:
        found += [f"{where}: url {_hidden(server['url'])!r} {why}" for why in _url_problems(server["url"])]
    unit = server.get("unit")
    if unit not in (None, "") and not (isinstance(unit, str) and _UNIT.match(unit)):
        found.append(f"{where}: unit {_short(unit)} is not the name of a systemd service, such as mi50-vllm.service")
    key = server.get("api_key_file")
    if key not in (None, "") and not (isinstance(key, str) and key.startswith("/")):
        found.append(f"{where}: api_key_file {_short(key)} is not an absolute path on the node")
    return found


def _url_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        dummy = parts.port
    except ValueError as exc:
        return [f"cannot be read: {exc}"]
    found = []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        found.append("is not http://HOST:PORT or https://HOST:PORT")
    if parts.username or parts.password:
        found.append("holds a password, which would end up in the records: use api_key_file")
    if parts.path.rstrip("/").endswith("/v1"):
        found.append("ends in /v1: leave that out")
    return found


def _hidden(url: str) -> str:
    """The URL without a password, for messages."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def _unknown(where: str, given: dict[str, Any], known: tuple[str, ...]) -> list[str]:
    found = []
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            found.append(f"{where}: {key!r} is unknown" + (f", did you mean {near[0]!r}?" if near else ""))
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _steps(engine: dict[str, Any], suite_models: dict[str, str]) -> list[Step]:
    given = engine["models"] if "models" in engine else dict.fromkeys(suite_models, engine["model"])
    steps: dict[tuple[str, str], Step] = {}
    for key, model in given.items():
        own = {"requested": model} if isinstance(model, str) else dict(model)
        server = {name: own.pop(name, None) or engine.get(name) or "" for name in _SERVER}
        place = (server["unit"], server["url"])
        if place not in steps:
            steps[place] = Step(_engine(engine, server), server["unit"], engine.get("gpu", ""), {})
        steps[place].models[key] = {"requested": suite_models[key], "key": key, **own}
    first = next(iter(steps.values()))
    for key, name in suite_models.items():
        if key not in given:
            why = f"engine {engine['name']} serves no model for {key} ({name}) in this inventory"
            first.models[key] = {"requested": name, "key": key, "unsupported": why}
    return list(steps.values())


def _engine(engine: dict[str, Any], server: dict[str, str]) -> dict[str, Any]:
    found = {name: engine[name] for name in _IDENTITY if name in engine}
    found.update({name: value.rstrip("/") for name, value in server.items() if value and name != "unit"})
    return {"name": engine["name"], "kind": kind_of(engine.get("kind", "openai")), **found}
