"""Prometheus really asks the node: what it sees, an alert that fires and clears, who can read secrets."""

from __future__ import annotations

import json
import time
from typing import Any

from helpers import journal

from tests.unit.monitor import alerts

SYS = "/srv/mi50-lab/presets/two-mi50-fan/bus/pci/devices"
CARD = "0000:03:00.0"
BASE = "/etc/mi50-aipc/monitoring/current"
ASK = (
    "import sys, urllib.parse, urllib.request as r;"
    " print(r.urlopen('http://127.0.0.1:9090/api/v1/' + sys.argv[1], timeout=10).read().decode())"
)
UNITS = ("prometheus", "prometheus-node-exporter", "mi50-monitor", "prometheus-alertmanager")


def api(host: Any, path: str) -> Any:
    return json.loads(host.check_output(f'python3 -c "{ASK}" %s', path))["data"]


def firing(host: Any) -> set[str]:
    return {one["labels"]["alertname"] for one in api(host, "alerts")["alerts"] if one["state"] == "firing"}


def soon(condition: Any, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def test_everything_that_is_asked_answers(host: Any) -> None:
    def down() -> list[str]:
        found = api(host, "targets")["activeTargets"]
        return [one["scrapeUrl"] for one in found if one["health"] != "up"] if len(found) == 3 else ["not three"]

    with journal(host, *UNITS):
        assert soon(lambda: down() == []), down()


def test_an_error_of_memory_fires_and_clears(host: Any) -> None:
    counter = f"{SYS}/{CARD}/ras/umc_err_count"
    with journal(host, *UNITS):
        assert "Mi50EccUncorrectable" not in firing(host)
        host.check_output(f"printf 'ue: 3\\nce: 0\\n' >{counter}")
        try:
            assert soon(lambda: "Mi50EccUncorrectable" in firing(host)), firing(host)
            told = "http://127.0.0.1:9093/api/v2/alerts"
            read = f"python3 -c \"import urllib.request as r; print(r.urlopen('{told}').read().decode())\""
            assert soon(lambda: "Mi50EccUncorrectable" in host.check_output(read))
        finally:
            host.check_output(f"printf 'ue: 0\\nce: 0\\n' >{counter}")
        assert soon(lambda: "Mi50EccUncorrectable" not in firing(host)), firing(host)


def test_every_alert_fires_on_its_condition_and_clears(host: Any) -> None:
    names = host.check_output(f"ls {BASE}/rules").split()
    content = json.dumps(alerts.tests([f"{BASE}/rules/{name}" for name in names]))
    host.run(f"cat >/tmp/alerts.json <<'END'\n{content}\nEND\n")
    done = host.run("promtool test rules /tmp/alerts.json")
    assert done.rc == 0, done.stdout + done.stderr


def test_only_this_machine_is_served(host: Any) -> None:
    listening = host.check_output("cat /proc/net/tcp /proc/net/tcp6")
    rows = [row.split() for row in listening.splitlines()]
    found = {row[1] for row in rows if len(row) > 3 and row[3] == "0A"}
    for port in (9090, 9093, 9100):
        assert {one for one in found if one.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}, found


def test_secrets_are_prometheus_own(host: Any) -> None:
    file = host.file(f"{BASE}/alertmanager.yml")
    assert (file.mode, file.user) == (0o600, "prometheus")
    assert "a-secret-path" in file.content_string
    assert host.run(f"setpriv --reuid nobody --clear-groups cat {BASE}/alertmanager.yml").rc != 0
    assert "a-secret-path" not in host.check_output("ps -ef")


def test_the_collector_has_no_rights_and_costs_little(host: Any) -> None:
    host.check_output("systemctl start mi50-monitor.service")
    shown = host.check_output("systemctl show mi50-monitor.service -p User -p Result -p CPUUsageNSec")
    assert "User=prometheus" in shown
    assert "Result=success" in shown
    file = host.file("/var/lib/prometheus/node-exporter/mi50_monitor.prom")
    assert (file.user, file.mode) == ("prometheus", 0o644)
    assert host.file("/var/lib/prometheus/node-exporter").mode == 0o1775


def test_a_refused_configuration_left_nothing_behind(host: Any) -> None:
    kept = host.check_output("ls /etc/mi50-aipc/monitoring/generations").split()
    assert host.check_output(f"readlink {BASE}").split("/")[-1] in kept
    assert len(kept) <= 2
