"""Whom Prometheus asks, from the inventory alone: a node that is down must not drop out of what is watched. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..addresses import LOCAL, joined, local, loopback

# Engines whose servers have metrics, behind the engine's key like everything else of theirs: its role's guard in front
# of vLLM, llama-server's own check. lmdeploy's stand behind its door, LM Studio and Ollama have none.
WITH_METRICS = ("vllm", "llama_cpp")
ENGINES = ("vllm", "lmdeploy", "llama_cpp", "lmstudio", "ollama", "comfyui")


class ScrapeError(Exception):
    """What is wrong with the inventory; the text has every problem and the way out."""


class Host(NamedTuple):
    """A host of the inventory. `variables` are its own; `defaults` of the roles fill in what it does not say."""

    name: str
    address: str
    variables: Mapping[str, Any]


class Target(NamedTuple):
    """One thing to ask. `job` is node, engine, gateway; `key` the name of a file with its key, empty without one."""

    job: str
    host: str
    address: str
    labels: Mapping[str, str]
    key: str = ""


class Wishes(NamedTuple):
    """What the monitoring host is asked for. `here` is its own name, `own` its ports by what listens there."""

    here: str
    nodes: Sequence[str]
    engines: Sequence[str]
    own: Mapping[str, int]


def targets(
    nodes: Sequence[Host], gateways: Sequence[Host], wishes: Wishes, defaults: Mapping[str, Any]
) -> list[Target]:
    """Return whom to ask. Raises ScrapeError with everything that is wrong, before anything changes."""
    problems = _wrong(nodes, wishes)
    chosen = [
        host
        for host in nodes
        if (host.name in wishes.nodes if wishes.nodes else bool(_of(host, "monitoring_enabled", defaults)))
    ]
    if not chosen and not problems:
        problems.append("there is nothing to watch: set monitoring_enabled: true for nodes and run site.yml")
    found: list[Target] = []
    for host in chosen:
        found += _node(host, wishes, defaults, problems)
    for host in gateways:
        found += _reached(host, "gateway", "gateway_metrics", "gateway_metrics_bind", {}, wishes, defaults, problems)
    # By name: a variable that nobody asks for may be one that Ansible cannot evaluate here, and so not be compared.
    measured, gated = {one.name for one in chosen}, {one.name for one in gateways}
    for host in {one.name: one for one in (*chosen, *gateways)}.values():
        problems += _ports(host, host.name in measured, host.name in gated, wishes, defaults)
    if problems:
        raise ScrapeError("; ".join(dict.fromkeys(problems)) + ". Nothing was changed.")
    return found


def key_files(found: Sequence[Target], nodes: Sequence[Host], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which key files are needed from where: a `host` each, and the `files`, path by the name of the key."""
    known = {host.name: host for host in nodes}
    files: dict[str, dict[str, str]] = {}
    for one in found:
        if one.key:
            path = _of(known[one.host], f"{one.labels['engine']}_api_key_file", defaults)
            files.setdefault(one.host, {})[one.key] = str(path)
    return [{"host": host, "files": paths} for host, paths in files.items()]


def _wrong(nodes: Sequence[Host], wishes: Wishes) -> list[str]:
    known = sorted(host.name for host in nodes)
    found = [
        f"monitoring_nodes names {name}, which is not in the group mi50_nodes ({', '.join(known) or 'empty'})"
        for name in wishes.nodes
        if name not in known
    ]
    found += [
        f"monitoring_engines names {name}: only {', '.join(WITH_METRICS)} have metrics"
        for name in wishes.engines
        if name not in WITH_METRICS
    ]
    return found


def _of(host: Host, name: str, defaults: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the inventory says
    value = host.variables.get(name)
    return defaults.get(name) if value is None else value


def _node(host: Host, wishes: Wishes, defaults: Mapping[str, Any], problems: list[str]) -> list[Target]:
    remedy = "monitoring_exporter_bind and monitoring_scraper"
    found = _reached(host, "node", "monitoring_exporter", remedy, {}, wishes, defaults, problems)
    for engine in _engines(host, defaults):
        if engine in wishes.engines:
            remedy = f"{engine}_bind (or monitoring_engines: [] on {wishes.here})"
            key = f"{host.name}-{engine}"
            found += _reached(host, "engine", engine, remedy, {"engine": engine}, wishes, defaults, problems, key)
    return found


def _engines(host: Host, defaults: Mapping[str, Any]) -> list[str]:
    named = _of(host, "mi50_engines", defaults) or []
    return [name for name in ENGINES if name in named and _of(host, f"{name}_state", defaults) != "absent"]


def _reached(
    host: Host,
    job: str,
    prefix: str,
    remedy: str,
    labels: Mapping[str, str],
    wishes: Wishes,
    defaults: Mapping[str, Any],
    problems: list[str],
    key: str = "",
) -> list[Target]:
    """The target, or none and the reason why it cannot be reached from the monitoring host."""
    bind = str(_of(host, f"{prefix}_bind", defaults) or LOCAL)
    port = int(_of(host, f"{prefix}_port", defaults))
    if host.name != wishes.here and loopback(bind):
        what = labels.get("engine") or {"node": "node-exporter", "gateway": "HAProxy's metrics"}[job]
        problems.append(
            f"{host.name}: {what} listens on {bind} alone, which {wishes.here} does not reach: set {remedy}"
            f"{'' if job == 'engine' else ' there'}"
        )
        return []
    address = local(bind) if host.name == wishes.here else host.address
    return [Target(job, host.name, joined(address, port), labels, key)]


def _ports(host: Host, node: bool, gateway: bool, wishes: Wishes, defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each port of a host that two programs claim."""
    claims: dict[int, str] = {}
    for name, port in _claims(host, node, gateway, wishes, defaults):
        if port is None:
            continue
        if port in claims:
            yield f"{host.name}: {claims[port]} and {name} both claim port {port}"
        claims.setdefault(port, name)


def _claims(
    host: Host, node: bool, gateway: bool, wishes: Wishes, defaults: Mapping[str, Any]
) -> Iterator[tuple[str, int | None]]:
    for name in _engines(host, defaults):
        yield f"{name}_port", _port(host, f"{name}_port", defaults)
    if node:
        yield "monitoring_exporter_port", _port(host, "monitoring_exporter_port", defaults)
    if gateway:
        for name in ("gateway_port", "gateway_metrics_port"):
            yield name, _port(host, name, defaults)
    if host.name == wishes.here:
        yield from wishes.own.items()


def _port(host: Host, name: str, defaults: Mapping[str, Any]) -> int | None:
    value = _of(host, name, defaults)
    return None if value is None else int(value)
