"""Issue 11, "Shows" 2, on two nodes: the distribution's Prometheus really asks them, and alerts fire and clear.

Real: node-exporter, Prometheus, the rules as they are installed (`for` and all), llama-server's own /metrics behind its
key, the health timer. Planted: a hot card, throttling, memory errors, a stalled blower, a broken engine, a node whose
exporter is gone. The cards are the lab's sysfs trees.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import nodes, site
from lab.__main__ import up
from lab.engines import units
from tests.lab.conftest import Lab
from tools import dashboards

pytestmark = [pytest.mark.lab, pytest.mark.long]
WATCH, SERVE = NODES = ("node4", "node5")
SYS = "/srv/mi50-lab/presets/two-mi50/bus/pci/devices/0000:03:00.0"
TEXT = "/var/lib/prometheus/node-exporter"
BROKEN = "/run/systemd/system/mi50-llama_cpp.service.d/broken.conf"
SAID = Path(__file__).resolve().parents[1] / "fixtures/exporters/llama-server-b11669.prom"
ASK = (
    "import sys, urllib.request as r;"
    " print(r.urlopen('http://127.0.0.1:9090/api/v1/' + sys.argv[1], timeout=10).read().decode())"
)
# Each query with how many series it finds.
COUNT = """\
import json, sys, urllib.parse, urllib.request as r
url = "http://127.0.0.1:9090/api/v1/query?query="
ask = lambda query: json.load(r.urlopen(url + urllib.parse.quote(query), timeout=10))["data"]["result"]
print(json.dumps({query: len(ask(query)) for query in json.loads(sys.argv[1])}))
"""
# gpu_metrics of format 1.0 that says: junction too hot (bit 2 at byte 68). octal, for printf
TABLE = r"\140\000\001\000" + r"\000" * 64 + r"\004\000\000\000" + r"\000" * 24
PLACES = "/etc/mi50-aipc/monitoring /etc/mi50-aipc/keys/monitoring.pem /usr/local/lib/mi50-monitor /usr/bin/prometheus"
HOT = f"{SYS}/hwmon/hwmon*/temp2_input"
AGAIN = "systemctl daemon-reload; systemctl reset-failed mi50-llama_cpp; systemctl restart mi50-llama_cpp"
# Alert and node, what plants it and what takes it away.
PLANTED = {
    ("Mi50CardAtLimit", SERVE): (f"echo 107000 >$(ls {HOT})", f"echo 41000 >$(ls {HOT})"),
    ("Mi50CardHot", SERVE): ("true", "true"),
    ("Mi50CardThrottled", SERVE): (f"printf '{TABLE}' >{SYS}/gpu_metrics", f"rm {SYS}/gpu_metrics"),
    ("Mi50EccUncorrectable", SERVE): (
        f"printf 'ue: 3\\nce: 0\\n' >{SYS}/ras/umc_err_count",
        f"printf 'ue: 0\\nce: 0\\n' >{SYS}/ras/umc_err_count",
    ),
    ("Mi50FanStalled", SERVE): (
        f"""printf 'mi50_fand_alarm{{subject="front",code="FAN_STALLED"}} 1\\n' >{TEXT}/mi50_fand.prom""",
        f"rm {TEXT}/mi50_fand.prom",
    ),
    ("Mi50TextFileBroken", SERVE): (f"echo 'no metric' >{TEXT}/broken.prom", f"rm {TEXT}/broken.prom"),
    ("Mi50EngineDown", SERVE): (
        f"mkdir -p {BROKEN.rpartition('/')[0]}; printf '[Service]\\nExecStartPre=/bin/false\\n' >{BROKEN};"
        " systemctl daemon-reload; systemctl restart mi50-llama_cpp || true",
        f"rm {BROKEN}; {AGAIN}",
    ),
    ("Mi50NodeDown", WATCH): ("systemctl stop prometheus-node-exporter", "systemctl start prometheus-node-exporter"),
}  # fmt: skip


def soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


@dataclass
class Rack:
    """Two nodes, and what they are asked for."""

    lab: Lab
    watch: Path
    options: dict[str, Any]

    def run(self, playbook: str, *arguments: str, **changes: Any) -> site.Result:
        given = json.dumps({**self.options, **changes})
        limit = ("--limit", ",".join(NODES))
        return site.run(
            self.lab.settings, ["-i", str(self.watch), *limit, "-e", given, *arguments], playbook=playbook, quiet=True
        )

    def ask(self, path: str) -> Any:
        return json.loads(self.lab.ssh(WATCH, f"python3 -c {shlex.quote(ASK)} {shlex.quote(path)}"))["data"]

    def firing(self) -> set[tuple[str, str]]:
        found = [one for one in self.ask("alerts")["alerts"] if one["state"] == "firing"]
        return {(one["labels"]["alertname"], one["labels"]["instance"]) for one in found}

    def key(self) -> str:
        return self.lab.ssh(SERVE, "cat /etc/mi50-aipc/keys/llama_cpp").strip()


@pytest.fixture(scope="module")
def rack(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    settings = dataclasses.replace(lab.settings, nodes=5)
    provided = units.provide(settings)
    up(settings)
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "watch.yml").write_text(f"mi50_monitoring:\n  hosts:\n    {WATCH}:\n")
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
    }
    yield Rack(lab, folder / "watch.yml", options)
    for name in NODES:
        nodes.remove(name)
    up(lab.settings)


@pytest.fixture(scope="module")
def watched(rack: Rack) -> tuple[Rack, dict[str, site.Result]]:
    """Refused first, then served and measured, then watched: check, run, run, all of it shown."""
    shown = ("-vvv", "--diff")
    return rack, {
        "refused": rack.run("playbooks/monitoring.yml"),
        "site": rack.run("site.yml", "--tags", "engines,monitoring"),
        "check": rack.run("playbooks/monitoring.yml", "--check", *shown),
        "first": rack.run("playbooks/monitoring.yml", *shown),
        "second": rack.run("playbooks/monitoring.yml", *shown),
    }


Watched = tuple[Rack, dict[str, site.Result]]


def test_a_target_without_a_key_is_refused_before_anything_changes(watched: Watched) -> None:
    _rack, runs = watched
    assert runs["refused"].returncode != 0
    assert f"scrape target without key: {SERVE}-llama_cpp" in runs["refused"].output
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

    wanted = [("engine", SERVE, "up"), ("node", WATCH, "up"), ("node", SERVE, "up"), ("prometheus", "monitoring", "up")]
    assert soon(lambda: found() == wanted, 60), found()


def test_llama_server_still_says_what_the_fixture_says(watched: Watched) -> None:
    rack, _runs = watched
    names = set(re.findall(r"^(llamacpp:[a-z_]+) ", SAID.read_text(), re.MULTILINE))
    assert len(names) > 10
    stored = rack.ask('series?match[]={job="engine"}')
    assert names - {one["__name__"] for one in stored} == set()
    tokens = rack.ask("query?query=llamacpp:tokens_predicted_total")["result"]
    assert [one["metric"]["instance"] for one in tokens] == [SERVE]
    assert float(tokens[0]["value"][1]) >= 1


def test_the_dashboards_queries_are_understood_and_find_the_nodes(watched: Watched) -> None:
    rack, _runs = watched
    queries = [query.replace("$instance", ".*") for panel in dashboards.PANELS for query, _legend in panel.queries]
    asked = f"python3 -c {shlex.quote(COUNT)} {shlex.quote(json.dumps(queries))}"
    found = json.loads(rack.lab.ssh(WATCH, asked))
    here = [
        query
        for query in queries
        if re.search(r"\b(mi50_gpu_temperature|mi50_gpu_power_w|llamacpp:|mi50_engine_up)", query)
    ]
    assert len(here) > 4
    assert [query for query in here if not found[query]] == []


def test_the_key_reaches_prometheus_and_nobody_else(watched: Watched) -> None:
    rack, runs = watched
    key = rack.key()
    assert len(key) >= 32
    assert [name for name, run in runs.items() if key in run.output] == []
    look = f"grep -rl {key} /etc /var /run /tmp /root 2>/dev/null || true"
    assert soon(lambda: len(rack.lab.ssh(WATCH, look).split()) == 1, 30)
    (place,) = rack.lab.ssh(WATCH, look).split()
    assert place.startswith("/etc/mi50-aipc/monitoring/generations/")
    assert rack.lab.ssh(WATCH, f"stat -c '%a %U' {place}").strip() == "600 prometheus"


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


def test_planted_conditions_fire_and_clear(watched: Watched) -> None:
    rack, _runs = watched
    assert rack.firing() & set(PLANTED) == set()
    began = time.monotonic()
    try:
        for (_alert, node), (plant, _mend) in PLANTED.items():
            rack.lab.ssh(node, plant)
        # The longest of them has to hold for two minutes; timers and a busy machine add to that.
        assert soon(lambda: set(PLANTED) <= rack.firing(), 300), set(PLANTED) - rack.firing()
        print(f"all fire after {time.monotonic() - began:.0f} s")
    finally:
        for (_alert, node), (_plant, mend) in PLANTED.items():
            rack.lab.ssh(node, mend)
    began = time.monotonic()
    assert soon(lambda: rack.firing() & set(PLANTED) == set(), 120), rack.firing() & set(PLANTED)
    print(f"all are clear after {time.monotonic() - began:.0f} s")


def test_uninstalling_takes_it_back(watched: Watched) -> None:
    rack, _runs = watched
    key = rack.key()
    gone = rack.run("playbooks/uninstall.yml", mi50_uninstall=True)
    assert gone.returncode == 0, gone.why
    assert rack.lab.ssh(WATCH, f"grep -rl {key} /etc /var 2>/dev/null || true") == ""
    for name in NODES:
        left = rack.lab.ssh(name, f"ls -d {PLACES} 2>/dev/null || true; dpkg-query -W 'prometheus*' || true")
        assert left.split() == [], name
        listening = rack.lab.ssh(name, "cat /proc/net/tcp /proc/net/tcp6").splitlines()
        ports = {row.split()[1].rpartition(":")[2] for row in listening if row.split()[3] == "0A"}
        assert ports & {f"{port:04X}" for port in (9090, 9093, 9100, 8080)} == set(), name
