"""From an inventory to a configuration: whom Prometheus asks, what is refused, how a configuration is switched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from mi50 import process, seal
from mi50.monitor import config, exporter, keys, scrape, switch

DEFAULTS = {
    "monitoring_enabled": False,
    "monitoring_exporter_bind": "127.0.0.1",
    "monitoring_exporter_port": 9100,
    "vllm_port": 8000,
    "vllm_bind": "127.0.0.1",
    "llama_cpp_port": 8080,
    "llama_cpp_bind": "127.0.0.1",
    "comfyui_port": 8188,
    "gateway_port": 8400,
    "gateway_metrics_port": 8405,
    "gateway_metrics_bind": "127.0.0.1",
}
OPEN = {
    "monitoring_enabled": True,
    "monitoring_exporter_bind": "192.0.2.1",
    "mi50_engines": ["vllm"],
    "vllm_bind": "192.0.2.1",
}


def host(name: str, **variables: Any) -> scrape.Host:
    return scrape.Host(name, f"{name}.example", {**OPEN, **variables})


def wishes(**more: Any) -> scrape.Wishes:
    given = {"here": "watch", "nodes": [], "engines": ["vllm", "llama_cpp"], "own": {"monitoring_server_port": 9090}}
    return scrape.Wishes(**{**given, **more})


def test_targets_of_an_inventory() -> None:
    gateways = [scrape.Host("gw", "gw.example", {"gateway_metrics_bind": "192.0.2.9"})]
    off = host("n3", monitoring_enabled=False)
    found = scrape.targets([host("n1"), host("n2", mi50_engines=["comfyui"]), off], gateways, wishes(), DEFAULTS)
    assert [(one.job, one.host, one.address, one.key) for one in found] == [
        ("node", "n1", "n1.example:9100", ""),
        ("engine", "n1", "n1.example:8000", "n1-vllm"),
        ("node", "n2", "n2.example:9100", ""),
        ("gateway", "gw", "gw.example:8405", ""),
    ]


class Unevaluated:
    """As Ansible hands out a variable that names hostvars: whoever compares it is told that hostvars is undefined."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise NameError("'hostvars' is undefined")


def test_a_variable_that_nobody_asks_for_may_be_beyond_evaluation() -> None:
    nodes = [host(name, monitoring_scraper=Unevaluated()) for name in ("n1", "n2")]
    gateways = [scrape.Host("n2", "n2.example", {"monitoring_scraper": Unevaluated()})]
    found = scrape.targets(nodes, gateways, wishes(here="n2"), DEFAULTS)
    assert [(one.job, one.host) for one in found][-1] == ("gateway", "n2")
    clash = {**DEFAULTS, "gateway_metrics_port": 9100}
    with pytest.raises(scrape.ScrapeError, match="n2: monitoring_exporter_port and gateway_metrics_port both claim"):
        scrape.targets(nodes, gateways, wishes(here="n2"), clash)


def test_keys_are_fetched_where_they_lie() -> None:
    both = host("n1", mi50_engines=["vllm", "llama_cpp"], llama_cpp_bind="192.0.2.1", llama_cpp_api_key_file="/own/key")
    nodes = [both, host("n2"), host("n3", mi50_engines=[])]
    defaults = {**DEFAULTS, "vllm_api_key_file": "/etc/mi50-aipc/keys/vllm"}
    assert scrape.key_files(scrape.targets(nodes, [], wishes(), defaults), nodes, defaults) == [
        {"host": "n1", "files": {"n1-vllm": "/etc/mi50-aipc/keys/vllm", "n1-llama_cpp": "/own/key"}},
        {"host": "n2", "files": {"n2-vllm": "/etc/mi50-aipc/keys/vllm"}},
    ]


def test_a_host_watches_itself_on_loopback() -> None:
    mine = scrape.Host("n1", "192.0.2.7", {"monitoring_enabled": True, "mi50_engines": ["vllm"]})
    found = scrape.targets([mine], [], wishes(here="n1"), DEFAULTS)
    assert [one.address for one in found] == ["127.0.0.1:9100", "127.0.0.1:8000"]
    six = mine._replace(variables={**mine.variables, "monitoring_exporter_bind": "::1"})
    found = scrape.targets([six], [], wishes(here="n1"), DEFAULTS)
    assert [one.address for one in found] == ["[::1]:9100", "127.0.0.1:8000"]


@pytest.mark.parametrize(
    ("nodes", "more", "words"),
    [
        ([host("n1")], {"nodes": ["n9"]}, ["monitoring_nodes names n9", "n1"]),
        ([host("n1")], {"engines": ["ollama"]}, ["monitoring_engines names ollama"]),
        ([host("n1", monitoring_exporter_bind="127.0.0.1")], {}, ["n1: node-exporter listens on 127.0.0.1", "watch"]),
        ([host("n1", vllm_bind="localhost")], {}, ["n1: vllm listens on localhost", "vllm_bind", "monitoring_engines"]),
        (
            [host("n1", mi50_engines=["vllm", "comfyui"], comfyui_port=8000)],
            {},
            ["n1: vllm_port and comfyui_port both claim port 8000"],
        ),
        ([host("n1", monitoring_enabled=False)], {}, ["nothing to watch", "monitoring_enabled"]),
        ([host("watch", monitoring_exporter_port=9090)], {}, ["both claim port 9090"]),
    ],
    ids=["unknown-node", "no-metrics", "closed-exporter", "closed-engine", "one-port", "none", "own-port"],
)
def test_an_inventory_that_cannot_be_watched(nodes: list[scrape.Host], more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(scrape.ScrapeError) as caught:
        scrape.targets(nodes, [], wishes(**more), DEFAULTS)
    assert [word for word in [*words, "Nothing was changed"] if word not in str(caught.value)] == []


def test_an_open_exporter_needs_to_know_its_visitor() -> None:
    settings = {"bind": "0.0.0.0", "port": 9100, "scraper": "", "interval": 30}  # noqa: S104 - what is refused
    assert "monitoring_scraper" in exporter.problems(settings)[0]
    assert exporter.problems({**settings, "scraper": "192.0.2.5 2001:db8::/64"}) == []
    assert "no IP address" in exporter.problems({**settings, "scraper": "watch.example"})[0]
    assert exporter.problems({**settings, "bind": "::1"}) == []


def test_configuration_names_keys_and_holds_none() -> None:
    found = scrape.targets([host("n1")], [], wishes(), DEFAULTS)
    data = json.loads(config.prometheus(found, 15, "[::1]:9090", 9093).removeprefix(config.HEAD))
    engine = next(job for job in data["scrape_configs"] if job["job_name"] == "engine-n1-vllm")
    assert engine["authorization"] == {"credentials_file": "keys/n1-vllm"}
    assert engine["static_configs"][0]["labels"] == {"job": "engine", "instance": "n1", "engine": "vllm"}
    assert data["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["127.0.0.1:9093"]
    own = next(job for job in data["scrape_configs"] if job["job_name"] == "prometheus")
    assert own["static_configs"][0]["targets"] == ["[::1]:9090"]
    assert "alerting" not in config.prometheus(found, 15, "[::1]:9090", 0)


@pytest.mark.parametrize(
    ("receiver", "words"),
    [
        ({"name": "a", "kind": "telegram", "chat_id": 5}, ["a: receiver without bot_token"]),
        ({"name": "a", "kind": "slack"}, ["receiver without api_url"]),
        ({"name": "a", "kind": "webhook", "url": "ftp://h"}, ["url is not http(s)"]),
        ({"name": "a", "kind": "pigeon"}, ["kind is 'pigeon'", "webhook"]),
        ({"kind": "webhook", "url": "http://h"}, ["a name of its own"]),
        (
            {"name": "a", "kind": "email", "to": "t", "from": "f", "smarthost": "h:25", "auth_username": "u"},
            ["receiver without auth_password"],
        ),
        (
            {"name": "a", "kind": "webhook", "url": "http://h", "token": "geheim"},
            ["token is nothing that webhook takes"],
        ),
    ],
    ids=["telegram", "slack", "url", "kind", "name", "mail", "unknown"],
)
def test_a_receiver_that_hears_nothing(receiver: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(config.ReceiverError) as caught:
        config.alertmanager([receiver])
    assert [word for word in words if word not in str(caught.value)] == []
    assert "geheim" not in str(caught.value)


class Tools:
    """promtool, amtool, systemctl: what was started, and what each says."""

    def __init__(self, refuse: str = "") -> None:
        self.started: list[str] = []
        self.refuse = refuse

    def __call__(self, words: list[str]) -> tuple[int, str]:
        self.started.append(" ".join(words))
        return (1, "FAILED: bad rule") if self.refuse and words[0] == self.refuse else (0, "")


def put(base: Path, tools: Tools, wanted: switch.Wanted) -> switch.Plan:
    todo = switch.plan(base, wanted)
    switch.prove(switch.stage(base, todo, (os.getuid(), os.getgid())), tools)
    switch.switch(base, todo, [switch.Server("prometheus.service", 1, "/")], tools)
    return todo


def test_a_configuration_is_switched_and_kept_when_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "ask", lambda _server: {"cluster": {}})
    first = switch.Wanted({"prometheus.yml": "a"}, {"alertmanager.yml": "secret"}, {"n1-vllm": "k" * 20})
    todo = put(tmp_path, Tools(), first)
    current = tmp_path / "current"
    assert sorted(todo.changed) == ["alertmanager.yml", "keys/n1-vllm", "prometheus.yml"]
    assert (current / "keys/n1-vllm").stat().st_mode & 0o777 == 0o600
    assert "k" * 20 not in json.dumps(todo.diff)
    assert '"secret"' not in json.dumps(todo.diff)
    # A key that could not be read now stays.
    kept = first._replace(keys={"n1-vllm": None})
    assert switch.plan(tmp_path, kept).changed == []
    with pytest.raises(switch.SwitchError, match=r"promtool refuses .*bad rule.*goes on unchanged"):
        put(tmp_path, Tools("promtool"), first._replace(files={"prometheus.yml": "b"}))
    assert (current / "prometheus.yml").read_text() == "a"
    with pytest.raises(switch.SwitchError, match="before is in force again"):
        put(tmp_path, Tools("systemctl"), first._replace(files={"prometheus.yml": "c"}))
    assert (current / "prometheus.yml").read_text() == "a"


def test_a_target_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(switch.SwitchError, match="scrape target without key: n1-vllm"):
        switch.plan(tmp_path, switch.Wanted({}, {}, {"n1-vllm": None}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_keys_come_sealed_and_stay_when_they_do_not_come(tmp_path: Path) -> None:
    pair = tmp_path / "pair.pem"
    names = ["n1-vllm", "n2-vllm"]
    # Before the first run: no pair, nothing sealed, and no refusal of what the nodes say they have.
    planned = keys.opened(names, {}, pair, process.run, names)
    assert switch.plan(tmp_path, switch.Wanted({}, {}, planned)).changed == ["keys/n1-vllm", "keys/n2-vllm"]
    with pytest.raises(switch.SwitchError, match=r"without key: n2-vllm \("):
        switch.plan(tmp_path, switch.Wanted({}, {}, keys.opened(names, {}, pair, process.run, names[:1])))
    assert not pair.exists()
    sealed = {"n1-vllm": seal.seal("k" * 43, seal.public(pair, process.run), process.run)}
    for promised in ([], ["n1-vllm"]):
        found = keys.opened(names, {**sealed, "n3-vllm": "~"}, pair, process.run, promised)
        assert found == {"n1-vllm": "k" * 43, "n2-vllm": None}
    with pytest.raises(switch.SwitchError, match=r"without key: n2-vllm \("):
        switch.plan(tmp_path, switch.Wanted({}, {}, found))
