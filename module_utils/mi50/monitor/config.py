"""Configuration of Prometheus and Alertmanager. JSON, which is YAML as well: nodes have no YAML library. Pure.

Paths in them are relative: both programs resolve them from the folder of the file, so that a folder can be checked
where it is staged and be switched over to as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..addresses import LOCAL
from .scrape import Target

HEAD = "# Managed by Ansible (role monitoring); changes are overwritten.\n"
PROMETHEUS, ALERTMANAGER, KEYS, RULES = "prometheus.yml", "alertmanager.yml", "keys", "rules"
# What each kind of receiver needs, the secret last, and how Alertmanager (0.23, Ubuntu 22.04) calls it.
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "webhook": ("webhook_configs", ("url",)),
    "slack": ("slack_configs", ("api_url",)),
    "telegram": ("telegram_configs", ("chat_id", "bot_token")),
    "email": ("email_configs", ("to", "from", "smarthost")),
}
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "webhook": ("url", "max_alerts"),
    "slack": ("api_url", "channel"),
    "telegram": ("chat_id", "bot_token"),
    "email": ("to", "from", "smarthost", "auth_username", "auth_password", "require_tls"),
}


class ReceiverError(Exception):
    """A receiver that cannot be told anything; the text names variable, receiver and what is missing, no secret."""


def prometheus(found: Sequence[Target], interval: int, own: str, alertmanager: int) -> str:
    """Return prometheus.yml. `own`: its address and port. `alertmanager`: a port here; 0: there is none."""
    seconds = f"{interval}s"
    jobs = [_job(f"{one.job}-{one.key or one.host}", [one], one.key) for one in found]
    mine = [Target("prometheus", "monitoring", own, {})]
    mine += [Target("alertmanager", "monitoring", f"{LOCAL}:{alertmanager}", {})] if alertmanager else []
    config: dict[str, Any] = {
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds},
        "rule_files": [f"{RULES}/*.yml"],
        "scrape_configs": [*jobs, *(_job(one.job, [one], "") for one in mine)],
    }
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"{LOCAL}:{alertmanager}"]}]}]}
    return HEAD + json.dumps(config, indent=2) + "\n"


def _job(name: str, found: Sequence[Target], key: str) -> dict[str, Any]:
    """A job of its own for each target, because keys belong to jobs; the label `job` says what it is."""
    job: dict[str, Any] = {
        "job_name": name,
        "static_configs": [
            {"targets": [one.address], "labels": {"job": one.job, "instance": one.host, **one.labels}} for one in found
        ],
    }
    if key:
        job["authorization"] = {"credentials_file": f"{KEYS}/{key}"}
    return job


def alertmanager(receivers: Sequence[Mapping[str, Any]]) -> str:
    """Return alertmanager.yml, which holds the secrets. The first receiver hears everything that names no other.

    Raises ReceiverError with everything that is wrong.
    """
    problems = receiver_problems(receivers)
    if problems:
        raise ReceiverError("; ".join(problems) + ". Nothing was changed.")
    routes = [
        {"receiver": one["name"], "matchers": [f'severity=~"{"|".join(one["severities"])}"'], "continue": True}
        for one in receivers[1:]
        if one.get("severities")
    ]
    routes += [{"receiver": one["name"], "continue": True} for one in receivers[1:] if not one.get("severities")]
    route: dict[str, Any] = {
        "receiver": receivers[0]["name"],
        "group_by": ["alertname", "instance"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "4h",
    }
    if routes:
        # `continue` leads on to the next one only: the first receiver is one of the routes, to hear of all.
        route["routes"] = [{"receiver": receivers[0]["name"], "continue": True}, *routes]
    config = {
        "route": route,
        "receivers": [_receiver(one) for one in receivers],
        # Of a node that is down nothing else needs to be said.
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="Mi50NodeDown"'],
                "target_matchers": ['alertname!="Mi50NodeDown"'],
                "equal": ["instance"],
            }
        ],
    }
    return HEAD + json.dumps(config, indent=2) + "\n"


def _receiver(one: Mapping[str, Any]) -> dict[str, Any]:
    section, dummy = KINDS[one["kind"]]
    settings = {name: one[name] for name in _ALLOWED[one["kind"]] if one.get(name) is not None}
    return {"name": one["name"], section: [{**settings, "send_resolved": True}]}


def receiver_problems(receivers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with monitoring_receivers, a line each; never a secret in one."""
    found: list[str] = []
    names = [str(one.get("name") or "") for one in receivers]
    for name, one in zip(names, receivers):
        where = f"monitoring_receivers: {name or 'a receiver without a name'}"
        kind = str(one.get("kind") or "")
        if not name or names.count(name) > 1:
            found.append(f"{where}: every receiver needs a name of its own")
        if kind not in KINDS:
            found.append(f"{where}: kind is {kind!r}, not one of {', '.join(KINDS)}")
            continue
        lacking = [word for word in KINDS[kind][1] if not one.get(word)]
        if kind == "email" and one.get("auth_username") and not one.get("auth_password"):
            lacking.append("auth_password")
        found += [f"{where}: receiver without {word}" for word in lacking]
        unknown = sorted(set(one) - {"name", "kind", "severities", *_ALLOWED[kind]})
        found += [f"{where}: {word} is nothing that {kind} takes ({', '.join(_ALLOWED[kind])})" for word in unknown]
        found += _url_problems(where, [word for word in ("url", "api_url") if one.get(word)], one)
    return found


def _url_problems(where: str, words: Sequence[str], one: Mapping[str, Any]) -> list[str]:
    found = []
    for word in words:
        parts = urlsplit(str(one[word]))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            found.append(f"{where}: {word} is not http(s)://host/path")
    return found
