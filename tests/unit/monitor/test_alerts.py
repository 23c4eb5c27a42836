"""Rules and dashboards: every alert has a test, a remedy and a place in the docs, and asks for what somebody writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from mi50.monitor import node, verify

from lab.sysfs import build
from tests.unit.monitor import alerts
from tools import dashboards

ROOT = Path(__file__).resolve().parents[3]
RULES = sorted((ROOT / "roles/monitoring/files/rules").glob("*.yml"))
PROMTOOL = shutil.which("promtool")
ALERTS: list[dict[str, Any]] = [
    rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
]
# What other programs' exporters say, as they said it: see the README there.
EXPORTERS = sorted((ROOT / "tests/fixtures/exporters").glob("*.prom"))
OWN = {"up", "ALERTS"}  # Prometheus' own
# What our configuration adds to each target.
SCRAPED = {"job", "instance", "engine"}
NAME = re.compile(r"\b(?:mi50|node|haproxy)_[a-z_]+|\b(?:vllm|llamacpp):[a-z_]+|\bup\b|\bALERTS\b")


def asked(expression: str) -> set[str]:
    """The metrics of an expression: what is left without strings."""
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


def exported() -> dict[str, set[str]]:
    """Metric to names of its labels, of all other programs."""
    found: dict[str, set[str]] = {}
    for path in EXPORTERS:
        for name, labels in re.findall(r"^([a-z_:]+)(?:{(.*)})? ", path.read_text(), re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the collector, the verification, the fan daemon and its guardian write."""
    root = tmp_path_factory.mktemp("node")
    build(root / "sys", "one-mi50")
    text = node.metrics(root, root / "sys", root / "proc", root / "dev", 1) + verify.text({"ok": 1, "checks": []}, 0)
    found = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    fand = ROOT / "roles/fan_control/files"
    daemon = re.findall(r'^ {8}\("([a-z_]+)", "(?:gauge|counter)"', (fand / "mi50_fand/metrics.py").read_text(), re.M)
    guardian = re.findall(r"# TYPE (mi50_fan_guardian_\w+)", (fand / "failsafe/mi50-fan-guardian").read_text())
    return found | {f"mi50_fand_{name}" for name in daemon} | set(guardian) | OWN | set(exported())


def test_every_alert_has_a_case_that_fires_and_clears() -> None:
    assert {case.alert for case in alerts.CASES} == {rule["alert"] for rule in ALERTS}
    assert len(ALERTS) > 25


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_to_do(rule: dict[str, Any], written: set[str]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert len(notes["remedy"]) > 20
    assert (ROOT / notes["runbook"]).is_file()
    if "check" in notes:
        assert f"`{notes['check']}`" in (ROOT / "docs/troubleshooting.md").read_text()
    assert f"`{rule['alert']}`" in (ROOT / "docs/monitoring.md").read_text()
    assert asked(rule["expr"])
    assert asked(rule["expr"]) <= written


def test_dashboard_asks_for_what_is_written(written: set[str]) -> None:
    names = {name for panel in dashboards.PANELS for query, _legend in panel.queries for name in asked(query)}
    assert len(names) > 20
    assert names <= written


def test_labels_of_other_programs_are_those_they_write() -> None:
    """A selector with a label that nobody writes matches nothing, or everything."""
    known = exported()
    queries = [query for panel in dashboards.PANELS for query, _legend in panel.queries]
    queries += [str(rule["expr"]) for rule in ALERTS]
    selectors = [one for query in queries for one in re.findall(r"([a-z_:]+){([^}]*)}", query) if one[0] in known]
    assert len(selectors) > 15
    wrong = {
        (name, label)
        for name, text in selectors
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", text))
        if label not in known[name] | SCRAPED
    }
    assert wrong == set()


def test_dashboard_is_what_its_description_makes() -> None:
    assert json.loads(dashboards.TARGET.read_text()) == dashboards.dashboard()
    assert dashboards.main(["--check"]) == 0


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here; molecule's scenario runs the same file on its node")
def test_alerts_fire_and_clear(tmp_path: Path) -> None:
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps(alerts.tests([str(path) for path in RULES])))
    done = subprocess.run([str(PROMTOOL), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
