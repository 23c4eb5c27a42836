"""Issue 11, "Shows" 2, on three nodes: the distribution's Prometheus really asks them; every alert fires and clears.

Real: node-exporter, Prometheus, Alertmanager, the rules as they are installed (`for` and all), llama-server's own
/metrics behind its key, the health timer, HAProxy with its metrics before the engine, a node that is killed under load.
Planted: everything of `planted.py`. The cards are the lab's sysfs trees.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab import engine, nodes, site
from lab.__main__ import up
from lab.engines import units
from tests.lab import planted
from tests.lab.conftest import Lab
from tests.lab.planted import GONE, NODES, SERVE, WATCH
from tests.lab.watching import HOOK, Watching, soon
from tools import dashboards

pytestmark = [pytest.mark.lab, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[2]
RULES = [
    rule["alert"]
    for path in sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
GROUPS = f"mi50_monitoring:\n  hosts:\n    {WATCH}:\nmi50_gateway:\n  hosts:\n    {WATCH}:\n"
SAID = ROOT / "tests/fixtures/exporters/llama-server-b11669.prom"
# Each query with how many series it finds.
COUNT = """\
import json, sys, urllib.parse, urllib.request as r
url = "http://127.0.0.1:9090/api/v1/query?query="
ask = lambda query: json.load(r.urlopen(url + urllib.parse.quote(query), timeout=10))["data"]["result"]
print(json.dumps({query: len(ask(query)) for query in json.loads(sys.argv[1])}))
"""
PLACES = (
    "/etc/mi50-aipc/monitoring /etc/mi50-aipc/keys/monitoring.pem /usr/local/lib/mi50-monitor /usr/bin/prometheus"
    " /etc/mi50-aipc/gateway /etc/mi50-aipc/keys/gateway /usr/sbin/haproxy"
)
LONGEST = 900  # seconds that an alert has to hold, at most


@pytest.fixture(scope="module")
def rack(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    settings = dataclasses.replace(lab.settings, nodes=6)
    provided = units.provide(settings)
    up(settings)
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "watch.yml").write_text(GROUPS)
    options = {
        "mi50_engines": f"{{{{ ['llama_cpp'] if inventory_hostname == '{SERVE}' else [] }}}}",
        "llama_cpp_model": f"{provided['models']}/SmolLM2-135M-Instruct.Q4_1.gguf",
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_root": provided["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_bind": "{{ ansible_host }}",
        "llama_cpp_health_interval": 5,
        "llama_cpp_extra_args": ["-t", "1", "-dev", "none"],
        "monitoring_enabled": True,
        "monitoring_nodes": list(NODES),
        "monitoring_exporter_bind": "{{ ansible_host }}",
        "monitoring_scraper": f"{{{{ hostvars['{WATCH}'].ansible_host }}}}",
        "monitoring_interval": 5,
        "monitoring_scrape_interval": 1,
        "monitoring_receivers": [{"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:8099/"}],
        "gateway_bind": "{{ ansible_host }}",
        "gateway_check_interval": 1,
    }
    lab.ssh(WATCH, f"cat >/srv/hook.py <<'END'\n{HOOK}END\nsystemd-run --quiet --unit hook python3 /srv/hook.py")
    yield Watching(lab, folder / "watch.yml", options)
    for name in NODES:
        nodes.remove(name)
    up(lab.settings)


@pytest.fixture(scope="module")
def watched(rack: Watching, tmp_path_factory: pytest.TempPathFactory) -> tuple[Watching, dict[str, site.Result]]:
    """Refused first, then served and measured, then watched: check, run, run, all of it shown."""
    shown = ("-vvv", "--diff")
    runs = {
        "refused": rack.run("playbooks/monitoring.yml"),
        "site": rack.run("site.yml", "--tags", "engines,monitoring,gateway"),
        "check": rack.run("playbooks/monitoring.yml", "--check", *shown),
        "first": rack.run("playbooks/monitoring.yml", *shown),
        "second": rack.run("playbooks/monitoring.yml", *shown),
    }
    if all(run.returncode == 0 for name, run in runs.items() if name != "refused"):
        # These have to hold for long: they do while the others are tested.
        rack.plant(planted.LONG)
        rack.past(tmp_path_factory.mktemp("past"))
    return rack, runs


Watched = tuple[Watching, dict[str, site.Result]]


def test_a_target_without_a_key_is_refused_before_anything_changes(watched: Watched) -> None:
    _rack, runs = watched
    assert runs["refused"].returncode != 0
    assert f"scrape target without key: {SERVE}-llama_cpp" in runs["refused"].output, runs["refused"].why
    assert "Install Prometheus" not in runs["refused"].output


@pytest.mark.parametrize("run", ["site", "check", "first", "second"])
def test_runs_succeed(watched: Watched, run: str) -> None:
    assert watched[1][run].returncode == 0, watched[1][run].why


def test_a_second_run_changes_nothing(watched: Watched) -> None:
    assert watched[1]["second"].recap[WATCH]["changed"] == 0, watched[1]["second"].why


def test_everything_that_is_asked_answers(watched: Watched) -> None:
    rack, _runs = watched

    def found() -> list[tuple[str, str, str]]:
        targets = rack.ask("targets")["activeTargets"]
        return sorted((one["labels"]["job"], one["labels"]["instance"], one["health"]) for one in targets)

    own = [(name, "monitoring", "up") for name in ("alertmanager", "prometheus")]
    wanted = [("engine", SERVE, "up"), ("gateway", WATCH, "up"), *(("node", name, "up") for name in NODES), *own]
    assert soon(lambda: found() == sorted(wanted), 60), found()


def test_llama_server_still_says_what_the_fixture_says(watched: Watched) -> None:
    rack, _runs = watched
    names = set(re.findall(r"^(llamacpp:[a-z_]+) ", SAID.read_text(), re.MULTILINE))
    assert len(names) > 10
    stored = rack.ask('series?match[]={job="engine"}')
    assert names - {one["__name__"] for one in stored} == set()
    tokens = rack.ask("query?query=llamacpp:tokens_predicted_total")["result"]
    assert [one["metric"]["instance"] for one in tokens] == [SERVE]
    assert float(tokens[0]["value"][1]) >= 1


def test_the_gateway_tells_what_rules_and_dashboard_ask_for(watched: Watched) -> None:
    rack, _runs = watched
    with rack.load() as load:
        load.until(lambda: len(load.ended) >= 3, 60)
    assert (load.failed, load.cut) == ([], [])
    asked = [query for panel in dashboards.PANELS for query, _legend in panel.queries]
    asked += [path.read_text() for path in (ROOT / "roles/monitoring/files/rules").glob("*.yml")]
    names = set(re.findall(r"\bhaproxy_\w+", " ".join(asked)))
    assert len(names) > 3
    stored = rack.ask('series?match[]={job="gateway"}')
    assert names - {one["__name__"] for one in stored} == set()
    served = 'haproxy_backend_http_responses_total{proxy="model-smollm2",code="2xx"}'

    def counted() -> list[int]:
        return [int(one["value"][1]) for one in rack.query(served)]

    assert soon(lambda: counted() == [len(load.ended)], 30), counted()


def test_the_dashboards_queries_are_understood_and_find_the_nodes(watched: Watched) -> None:
    rack, _runs = watched
    queries = [query.replace("$instance", ".*") for panel in dashboards.PANELS for query, _legend in panel.queries]
    asked = f"python3 -c {shlex.quote(COUNT)} {shlex.quote(json.dumps(queries))}"
    found = json.loads(rack.lab.ssh(WATCH, asked))
    here = [
        query
        for query in queries
        if re.search(r"\b(mi50_gpu_temperature|mi50_gpu_power_w|llamacpp:|mi50_engine_up|haproxy_)", query)
    ]
    assert len(here) > 4
    assert [query for query in here if not found[query]] == []


def test_the_key_reaches_prometheus_and_the_gateway_and_nobody_else(watched: Watched) -> None:
    rack, runs = watched
    key = rack.key()
    assert len(key) >= 32
    assert [name for name, run in runs.items() if key in run.output] == []
    look = f"grep -rl {key} /etc /var /run /tmp /root /srv/told 2>/dev/null || true"
    assert soon(lambda: len(rack.lab.ssh(WATCH, look).split()) == 2, 30), rack.lab.ssh(WATCH, look)
    gateway, prometheus = sorted(rack.lab.ssh(WATCH, look).split())
    assert prometheus.startswith("/etc/mi50-aipc/monitoring/generations/")
    assert rack.lab.ssh(WATCH, f"stat -c '%a %U' {prometheus}").strip() == "600 prometheus"
    assert gateway == "/etc/mi50-aipc/gateway/engines.map"
    assert rack.lab.ssh(WATCH, f"stat -c '%a %U' {gateway}").strip() == "600 mi50-gateway"


def test_what_a_verification_found_is_told(watched: Watched) -> None:
    """These nodes have no ROCm, which the verification says and the alert repeats."""
    rack, _runs = watched
    rack.run("playbooks/verify.yml")

    def found() -> dict[str, str]:
        result = rack.ask("query?query=mi50_verify_ok")["result"]
        return {one["metric"]["instance"]: one["value"][1] for one in result}

    assert soon(lambda: found() == dict.fromkeys(NODES, "0"), 30), found()
    wanted = {("Mi50VerifyFailed", name) for name in NODES}
    assert soon(lambda: wanted <= rack.firing(), 30), rack.firing()
    for name in NODES:
        rack.lab.ssh(name, f"sed -i 's/^mi50_verify_ok .*/mi50_verify_ok 1/' {planted.TEXT}/mi50_verify.prom")
    assert soon(lambda: rack.firing() & wanted == set(), 30), rack.firing()


def test_a_node_that_dies_under_load_is_told_and_forgotten_when_it_is_back(watched: Watched) -> None:
    rack, _runs = watched
    assert rack.firing() & GONE == set()
    began = time.monotonic()
    with rack.load() as load:
        load.until(lambda: len(load.ended) >= 3 and not load.failed, 60)
        engine.docker("kill", nodes.container(SERVE))
        # Without an engine, requests fail; that goes on until somebody is told.
        assert soon(lambda: ("Mi50GatewayErrors", WATCH) in rack.firing(), 240), rack.firing()
    assert soon(lambda: rack.firing() >= GONE, 300), GONE - rack.firing()
    print(f"\n{SERVE} gone: {sorted(GONE)} fire after {time.monotonic() - began:.0f} s; {load.told()}")

    def inhibited() -> set[tuple[str, str]]:
        found = [one for one in rack.get("9093/api/v2/alerts") if one["status"]["inhibitedBy"]]
        return {(one["labels"]["alertname"], one["labels"]["instance"]) for one in found}

    assert soon(lambda: ("Mi50EngineMetricsDown", SERVE) in inhibited(), 30), inhibited()
    assert ("Mi50NodeDown", SERVE) not in inhibited()
    engine.docker("start", nodes.container(SERVE))
    began = time.monotonic()
    with rack.load() as load:
        load.until(lambda: load.served() == {f"{SERVE}-llama_cpp"}, 180)
    # What failed counts for five minutes.
    assert soon(lambda: rack.firing() & GONE == set(), 330), rack.firing() & GONE
    print(f"{SERVE} is back: clear after {time.monotonic() - began:.0f} s")


def test_planted_conditions_fire_and_clear(watched: Watched) -> None:
    rack, _runs = watched
    wanted = planted.of(planted.SOON)
    began = time.monotonic()
    try:
        rack.plant(planted.SOON)
        # The longest of them has to hold for two minutes; timers and a busy machine add to that.
        assert soon(lambda: wanted <= rack.firing(), 300), wanted - rack.firing()
        print(f"\nall {len(wanted)} fire after {time.monotonic() - began:.0f} s")
    finally:
        rack.mend(planted.SOON)
    began = time.monotonic()
    assert soon(lambda: rack.firing() & wanted == set(), 120), rack.firing() & wanted
    print(f"all are clear after {time.monotonic() - began:.0f} s")


def test_every_rule_has_fired_was_told_and_is_clear(watched: Watched) -> None:
    """The last of those that were planted when Prometheus began; then the sum of all tests above."""
    rack, _runs = watched
    wanted = planted.of(planted.LONG)
    ours = {*wanted, *planted.of(planted.SOON), *GONE, *(("Mi50VerifyFailed", name) for name in NODES)}
    assert {name for name, _node in ours} == set(RULES)
    try:
        assert soon(lambda: ours <= rack.fired(), LONGEST + 60), ours - rack.fired()
        # Of the node that was down nothing else was to be said.
        said = set(RULES) - {"Mi50EngineMetricsDown"}
        assert soon(lambda: said <= {name for name, _node in rack.told("firing")}, 90), rack.told("firing")
    finally:
        rack.mend(planted.LONG)
    assert soon(lambda: rack.firing() & ours == set(), 120), rack.firing() & ours
    assert ("Mi50NodeDown", SERVE) in rack.told("resolved")
    print(f"\n{len(RULES)} rules: all have fired, are clear, and were told; on their own: {rack.firing()}")


def test_uninstalling_takes_it_back(watched: Watched) -> None:
    rack, _runs = watched
    key = rack.key()
    gone = rack.run("playbooks/uninstall.yml", mi50_uninstall=True)
    assert gone.returncode == 0, gone.why
    assert rack.lab.ssh(WATCH, f"grep -rl {key} /etc /var 2>/dev/null || true") == ""
    for name in NODES:
        left = rack.lab.ssh(name, f"ls -d {PLACES} 2>/dev/null || true; dpkg-query -W 'prometheus*' haproxy || true")
        assert left.split() == [], name
        listening = rack.lab.ssh(name, "cat /proc/net/tcp /proc/net/tcp6").splitlines()
        ports = {row.split()[1].rpartition(":")[2] for row in listening if row.split()[3] == "0A"}
        assert ports & {f"{port:04X}" for port in (9090, 9093, 9100, 8080, 8405, 8800)} == set(), name
