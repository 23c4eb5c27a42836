"""Writes the Grafana dashboard of the role monitoring from a short description: `python -m tools.dashboards [--check]`.

Grafana's own format repeats forty lines for each panel; here a panel is what it shows. The fan daemon's dashboard is
a file of its role.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).resolve().parents[1] / "roles/monitoring/files/grafana/mi50-rack.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
DECODED = "(sum(rate({}[1m])) or vector(0))"
HERE = '{instance=~"$instance"}'


class Panel(NamedTuple):
    """Queries with their legends; `steps` are values from which a colour holds, the lowest colour is green."""

    title: str
    kind: str
    unit: str
    width: int
    height: int
    queries: tuple[tuple[str, str], ...]
    steps: tuple[tuple[float, str], ...] = ()


def _stat(title: str, query: str, unit: str = "none", steps: tuple[tuple[float, str], ...] = ()) -> Panel:
    return Panel(title, "stat", unit, 4, 4, ((query, ""),), steps)


def _lines(title: str, unit: str, *queries: tuple[str, str], width: int = 12) -> Panel:
    return Panel(title, "timeseries", unit, width, 8, queries)


PANELS = (
    _stat(
        "Nodes that answer",
        'sum(up{job="node",instance=~"$instance"}) / count(up{job="node",instance=~"$instance"})',
        "percentunit",
    ),
    _stat(
        "Alerts", 'count(ALERTS{alertstate="firing",severity!="info"}) or vector(0)', steps=((1, "orange"), (3, "red"))
    ),
    _stat(
        "Hottest junction",
        'max(mi50_gpu_temperature_celsius{sensor="junction",instance=~"$instance"})',
        "celsius",
        ((90, "orange"), (100, "red")),
    ),
    _stat("Power of all cards", f"sum(mi50_gpu_power_watts{HERE})", "watt"),
    _stat("Engines that answer", f"sum(mi50_engine_up{HERE})"),
    _stat(
        "Tokens a second, all engines",
        " + ".join(
            DECODED.format(name + HERE) for name in ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total")
        ),
    ),
    _lines(
        "Junction temperature and limit",
        "celsius",
        ('mi50_gpu_temperature_celsius{instance=~"$instance",sensor="junction"}', "{{instance}} {{gpu}}"),
        ('min by (sensor) (mi50_gpu_temperature_limit_celsius{instance=~"$instance",sensor="junction"})', "limit"),
    ),
    _lines(
        "Memory temperature and limit",
        "celsius",
        ('mi50_gpu_temperature_celsius{instance=~"$instance",sensor="mem"}', "{{instance}} {{gpu}}"),
        ('min by (sensor) (mi50_gpu_temperature_limit_celsius{instance=~"$instance",sensor="mem"})', "limit"),
    ),
    _lines(
        "Power and cap",
        "watt",
        (f"mi50_gpu_power_watts{HERE}", "{{instance}} {{gpu}}"),
        (f"mi50_gpu_power_cap_watts{HERE}", "cap {{instance}} {{gpu}}"),
    ),
    _lines("Memory in use", "bytes", (f"mi50_gpu_vram_used_bytes{HERE}", "{{instance}} {{gpu}}")),
    _lines(
        "Memory of ROCm's processes by unit",
        "bytes",
        (f"mi50_gpu_unit_vram_bytes{HERE}", "{{instance}} {{gpu}} {{unit}}"),
    ),
    _lines("Load", "percent", ('mi50_gpu_busy_percent{instance=~"$instance",part="gpu"}', "{{instance}} {{gpu}}")),
    _lines("Clock", "hertz", ('mi50_gpu_clock_hertz{instance=~"$instance",domain="sclk"}', "{{instance}} {{gpu}}")),
    _lines(
        "Slows itself down because of", "none", (f"mi50_gpu_throttled{HERE} == 1", "{{instance}} {{gpu}} {{reason}}")
    ),
    _lines(
        "Tokens a second",
        "none",
        (f"rate(vllm:generation_tokens_total{HERE}[1m])", "{{instance}} vllm decode"),
        (f"rate(vllm:prompt_tokens_total{HERE}[1m])", "{{instance}} vllm prefill"),
        (f"rate(llamacpp:tokens_predicted_total{HERE}[1m])", "{{instance}} llama.cpp decode"),
        (f"rate(llamacpp:prompt_tokens_total{HERE}[1m])", "{{instance}} llama.cpp prefill"),
    ),
    _lines(
        "Requests at work and waiting",
        "none",
        (f"vllm:num_requests_running{HERE}", "{{instance}} vllm"),
        (f"vllm:num_requests_waiting{HERE}", "{{instance}} vllm waiting"),
        (f"llamacpp:requests_processing{HERE}", "{{instance}} llama.cpp"),
        (f"llamacpp:requests_deferred{HERE}", "{{instance}} llama.cpp waiting"),
    ),
    _lines(
        "Time to first token, slowest of twenty (vLLM)",
        "s",
        (
            "histogram_quantile(0.95, sum by (instance, le) "
            f"(rate(vllm:time_to_first_token_seconds_bucket{HERE}[5m])))",
            "{{instance}}",
        ),
    ),
    _lines(
        "Health timer: tokens a second, new starts",
        "none",
        (f"mi50_engine_tokens_per_second{HERE}", "{{instance}} {{engine}}"),
        (f"mi50_engine_heals_recent{HERE}", "new starts {{instance}} {{engine}}"),
    ),
    _lines(
        "Gateway: requests a second by model and answer",
        "reqps",
        (
            'sum by (proxy, code) (rate(haproxy_backend_http_responses_total{proxy=~"model-.*"}[1m]))',
            "{{proxy}} {{code}}",
        ),
    ),
    _lines(
        "Gateway: engines for each model, streams at work",
        "none",
        ('haproxy_backend_active_servers{proxy=~"model-.*"}', "engines {{proxy}}"),
        ('haproxy_backend_current_sessions{proxy=~"model-.*"}', "streams {{proxy}}"),
    ),
    _lines(
        "Errors of cards", "none", (f"mi50_gpu_ras_errors_total{HERE} > 0", "{{instance}} {{gpu}} {{block}} {{type}}")
    ),
    _lines(
        "Ladder of the fan daemon",
        "none",
        (f"max by (instance, gpu) (mi50_fand_ladder_rung{HERE})", "{{instance}} {{gpu}}"),
    ),
    _lines(
        "Last verification: checks that failed", "none", (f"mi50_verify_check_status{HERE} == 2", "{{instance}} {{id}}")
    ),
    _lines(
        "Disk left",
        "percentunit",
        (
            'node_filesystem_avail_bytes{instance=~"$instance",fstype!~"tmpfs|ramfs|squashfs"}'
            " / node_filesystem_size_bytes",
            "{{instance}} {{mountpoint}}",
        ),
    ),
)


def panel(number: int, described: Panel, x: int, y: int) -> dict[str, Any]:
    """One panel in Grafana's format."""
    defaults: dict[str, Any] = {"unit": described.unit}
    if described.kind == "stat":
        steps = [{"color": "green", "value": None}, *({"color": c, "value": v} for v, c in described.steps)]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    return {
        "id": number,
        "title": described.title,
        "type": described.kind,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": described.width, "h": described.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"expr": query, "legendFormat": legend, "refId": chr(ord("A") + index)}
            for index, (query, legend) in enumerate(described.queries)
        ],
    }


def dashboard() -> dict[str, Any]:
    """The dashboard; panels fill rows from the left."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, described in enumerate(PANELS, start=1):
        if x + described.width > WIDTH:
            x, y = 0, y + panels[-1]["gridPos"]["h"]
        panels.append(panel(number, described, x, y))
        x += described.width
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "instance",
            "type": "query",
            "label": "Node",
            "datasource": SOURCE,
            "query": {"query": "label_values(mi50_gpu_cards, instance)", "refId": "I"},
            "includeAll": True,
            "multi": True,
            "refresh": 2,
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "title": "MI50 rack",
        "uid": "mi50-rack",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "15s",
        "tags": ["mi50"],
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }


def main(arguments: list[str]) -> int:
    """Write the file, or with --check tell whether it is what would be written."""
    text = json.dumps(dashboard(), indent=2) + "\n"
    if arguments == ["--check"]:
        return 0 if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
