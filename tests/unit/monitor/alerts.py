"""Each alert with what makes it fire and what clears it, as a file for `promtool test rules`.

A case plants its condition after ten minutes of health and takes it away again; promtool evaluates the real rules over
it. Times are minutes; a series is what it is worth before, meanwhile and afterwards (None: it is not there).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

STEP = 30  # seconds between two samples, and between two evaluations
PLANTED = 10  # minutes: when the condition begins
Value = Optional[float]


class Series(NamedTuple):
    """A series with its values `before`, `during` and `after` the condition; `slope` is added with each step of it."""

    name: str
    before: Value
    during: Value
    after: Value
    slope: float = 0.0


class Case(NamedTuple):
    """`lasts` minutes of the condition; `fires` minutes after its begin the alert fires, not yet at `quiet`."""

    alert: str
    series: tuple[Series, ...]
    fires: float = 5
    quiet: float | None = None
    lasts: float = 20
    cleared: float = 10


GPU = 'instance="n1",gpu="0000:03:00.0"'
FILE = "/var/lib/prometheus/node-exporter/mi50_fand.prom"
LIMIT = Series(f'mi50_gpu_temperature_limit_celsius{{{GPU},sensor="junction"}}', 105, 105, 105)
HOT = f'mi50_gpu_temperature_celsius{{{GPU},sensor="junction"}}'
VRAM = f"mi50_gpu_vram_used_bytes{{{GPU}}}"
ENGINE = 'instance="n1",engine="vllm"'
MODEL = 'instance="gw",proxy="model-qwen"'
RESPONSES = f"haproxy_backend_http_responses_total{{{MODEL}"
IDLE = (
    Series('mi50_engines_running{instance="n1"}', 0, 0, 0),
    Series(f"mi50_gpu_rocm_processes{{{GPU}}}", 0, 0, 0),
)
GIB = 1 << 30
# node-exporter's own clock: seconds since the boot are the test's own seconds.
CLOCK = (
    Series('node_time_seconds{instance="n1"}', None, None, None),
    Series('node_boot_time_seconds{instance="n1"}', 0, 0, 0),
)

CASES = (
    Case("Mi50CardHot", (LIMIT, Series(HOT, 60, 101, 60)), quiet=1),
    Case("Mi50CardHot", (Series(HOT, 60, 96, 60),), quiet=1),
    Case("Mi50CardAtLimit", (LIMIT, Series(HOT, 60, 106, 60)), fires=1),
    Case(
        "Mi50SensorSilent",
        (Series(f"mi50_gpu_info{{{GPU}}}", 1, 1, 1), Series(HOT, 60, None, 60)),
        fires=9,
        quiet=1,
    ),
    Case("Mi50CardThrottled", (Series(f'mi50_gpu_throttled{{{GPU},reason="junction"}}', 0, 1, 0),), quiet=1),
    Case(
        "Mi50PowerCapEngaged",
        (
            Series(f"mi50_gpu_power_watts{{{GPU}}}", 90, 149, 90),
            Series(f"mi50_gpu_power_cap_watts{{{GPU}}}", *[150] * 3),
        ),
        fires=17,
        quiet=10,
    ),
    Case("Mi50PowerCapEngaged", (Series(f'mi50_gpu_throttled{{{GPU},reason="power"}}', 0, 1, 0),), fires=17, quiet=10),
    Case(
        "Mi50EccUncorrectable",
        (Series(f'mi50_gpu_ras_errors_total{{{GPU},block="umc",type="uncorrectable"}}', 0, 3, 0),),
        fires=0.5,
    ),
    Case(
        "Mi50EccCorrectable",
        (Series(f'mi50_gpu_ras_errors_total{{{GPU},block="umc",type="correctable"}}', 0, 40, 40),),
        lasts=5,
        cleared=70,
    ),
    Case("Mi50PcieReplays", (Series(f"mi50_gpu_pcie_replays_total{{{GPU}}}", 0, 400, 400),), lasts=5, cleared=70),
    Case("Mi50CardLost", (Series('mi50_gpu_cards{instance="n1"}', 2, 1, 2),), quiet=0.5),
    Case(
        "Mi50CardLost",
        (Series('mi50_gpu_cards{instance="n1"}', 2, 1, 2), Series('mi50_gpu_cards_expected{instance="n1"}', 2, 2, 2)),
    ),
    Case("Mi50VramLeak", (*IDLE, Series(VRAM, 12e6, 8 * GIB, 12e6)), fires=17, quiet=10),
    # 100 MiB an hour for longer than three hours.
    Case(
        "Mi50VramGrows",
        (Series(VRAM, 8 * GIB, 8 * GIB, 8 * GIB, slope=100 * (1 << 20) / 120),),
        fires=195,
        quiet=150,
        lasts=200,
        cleared=70,
    ),
    Case(
        "Mi50FanStalled",
        (Series('mi50_fand_alarm{instance="n1",subject="front",code="FAN_STALLED"}', None, 1, None),),
        fires=0.5,
    ),
    Case(
        "Mi50FanWeak",
        (Series('mi50_fand_alarm{instance="n1",subject="front",code="FAN_WEAK"}', None, 1, None),),
        fires=7,
        quiet=3,
    ),
    Case("Mi50FanDaemonFault", (Series('mi50_fand_state{instance="n1"}', 0, 1, 0),), quiet=1),
    Case("Mi50FanUnverified", (Series('mi50_fand_verified{instance="n1",blower="front"}', 1, 0, 1),), quiet=1),
    Case(
        "Mi50FanDaemonSilent",
        (*CLOCK, Series('mi50_fand_last_cycle_boottime_seconds{instance="n1"}', None, PLANTED * 60, None)),
    ),
    Case("Mi50FanFailSafe", (Series('mi50_fan_guardian_state{instance="n1"}', 0, 2, 0),), fires=0.5),
    Case("Mi50FanLadder", (Series(f"mi50_fand_ladder_rung{{{GPU}}}", 0, 1, 0),), fires=0.5),
    Case(
        "Mi50EngineDown",
        (
            Series(f'mi50_engine_up{{{ENGINE},model="m"}}', 1, 0, 1),
            Series(f'mi50_engine_state{{{ENGINE},state="hung"}}', None, 1, None),
        ),
        quiet=1,
    ),
    Case("Mi50EngineHealed", (Series(f"mi50_engine_heals_recent{{{ENGINE}}}", 0, 1, 0),), fires=0.5),
    Case("Mi50EngineCrashes", (Series(f"mi50_engine_restarts_total{{{ENGINE}}}", 0, 5, 5),), lasts=5, cleared=70),
    Case(
        "Mi50EngineUnwatched",
        (Series(f"mi50_engine_checked_timestamp_seconds{{{ENGINE}}}", None, PLANTED * 60, None),),
        fires=12,
        quiet=8,
    ),
    Case("Mi50EngineMetricsDown", (Series(f'up{{job="engine",{ENGINE}}}', 1, 0, 1),), fires=7, quiet=3),
    Case("Mi50NodeDown", (Series('up{job="node",instance="n1"}', 1, 0, 1),), quiet=1),
    Case(
        "Mi50CollectorMissing",
        (
            Series('up{job="node",instance="n1"}', 1, 1, 1),
            Series('mi50_monitor_timestamp_seconds{instance="n1"}', 9, None, 9),
        ),
        fires=12,
        quiet=5,
    ),
    Case(
        "Mi50TextFileStale",
        (Series(f'node_textfile_mtime_seconds{{instance="n1",file="{FILE}"}}', None, PLANTED * 60, None),),
        fires=9,
        quiet=4,
    ),
    Case("Mi50TextFileBroken", (Series('node_textfile_scrape_error{instance="n1"}', 0, 1, 0),), quiet=1),
    Case(
        "Mi50VerifyFailed",
        (
            Series('mi50_verify_ok{instance="n1"}', 1, 0, 1),
            Series('mi50_verify_check_status{instance="n1",id="card.memory"}', 0, 2, 0),
        ),
        fires=0.5,
    ),
    Case(
        "Mi50DiskNearlyFull",
        (
            Series('node_filesystem_avail_bytes{instance="n1",fstype="ext4",mountpoint="/"}', 50, 5, 50),
            Series('node_filesystem_size_bytes{instance="n1",fstype="ext4",mountpoint="/"}', 100, 100, 100),
            Series('node_filesystem_readonly{instance="n1",fstype="ext4",mountpoint="/"}', 0, 0, 0),
        ),
        fires=12,
        quiet=5,
    ),
    Case("Mi50GatewayDown", (Series('up{job="gateway",instance="gw"}', 1, 0, 1),), fires=2, quiet=0.5),
    Case("Mi50GatewayNoBackend", (Series(f"haproxy_backend_active_servers{{{MODEL}}}", 2, 0, 2),), fires=1),
    Case(
        "Mi50GatewayServerDown",
        (Series(f'haproxy_server_status{{{MODEL},server="n1-vllm",state="DOWN"}}', 0, 1, 0),),
        fires=7,
        quiet=3,
    ),
    Case(
        "Mi50GatewayErrors",
        (
            Series(f'{RESPONSES},code="2xx"}}', 0, 0, 0, slope=10),
            Series(f'{RESPONSES},code="5xx"}}', 0, 0, None, slope=2),
        ),
        fires=6,
        cleared=15,
    ),
)
# What is no fault: nothing may fire of it.
HEALTHY = (
    LIMIT,
    Series(HOT, 80, 80, 80),
    Series(VRAM, 30 * GIB, 30 * GIB, 30 * GIB),
    Series('mi50_engines_running{instance="n1"}', 1, 1, 1),
    Series(f"mi50_gpu_rocm_processes{{{GPU}}}", 1, 1, 1),
    Series(f"mi50_gpu_info{{{GPU}}}", 1, 1, 1),
    Series(f'mi50_gpu_throttled{{{GPU},reason="junction"}}', 0, 0, 0),
    Series('mi50_gpu_cards{instance="n1"}', 2, 2, 2),
    Series(f'mi50_gpu_ras_errors_total{{{GPU},block="umc",type="uncorrectable"}}', 0, 0, 0),
    # Stopped on purpose, and one that loads its model.
    Series(f'mi50_engine_up{{{ENGINE},model="m"}}', 0, 0, 0),
    Series(f'mi50_engine_state{{{ENGINE},state="stopped"}}', 1, 1, 1),
    Series('mi50_engine_up{instance="n2",engine="vllm",model="m"}', 0, 0, 0),
    Series('mi50_engine_state{instance="n2",engine="vllm",state="loading"}', 1, 1, 1),
    Series('up{job="node",instance="n1"}', 1, 1, 1),
    Series('mi50_monitor_timestamp_seconds{instance="n1"}', 9, 9, 9),
    Series('mi50_fand_state{instance="n1"}', 0, 0, 0),
    Series('mi50_fan_guardian_state{instance="n1"}', 0, 0, 0),
    Series('mi50_verify_ok{instance="n1"}', 1, 1, 1),
)


def _values(series: Series, lasts: float, after: float) -> str:
    """The values in promtool's notation, written out: one sample each step."""
    steps = [round(minutes * 60 / STEP) for minutes in (PLANTED, lasts, after)]
    if series.name.startswith("node_time_seconds"):
        return f"0+{STEP}x{sum(steps)}"
    words = [_word(series.before)] * steps[0]
    begin = series.during
    words += [_word(None if begin is None else begin + series.slope * step) for step in range(steps[1])]
    end = series.after
    top = series.slope * steps[1]
    words += [_word(None if end is None else end + top)] * steps[2]
    return " ".join(words)


def _word(value: Value) -> str:
    return "_" if value is None else f"{value:.0f}"


def _asked(alert: str, minutes: float, firing: bool) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if firing else []
    expression = f'max by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {"expr": expression, "eval_time": f"{round(minutes * 60)}s", "exp_samples": samples}


def tests(rules: list[str]) -> dict[str, Any]:
    """Return the whole file, as data; JSON is YAML. `rules` are paths of the rule files."""
    found = []
    for case in CASES:
        after = case.cleared + 5
        series = [{"series": one.name, "values": _values(one, case.lasts, after)} for one in case.series]
        end = PLANTED + case.lasts
        asked = [_asked(case.alert, PLANTED - 1, False), _asked(case.alert, PLANTED + case.fires, True)]
        if case.quiet is not None:
            asked.append(_asked(case.alert, PLANTED + case.quiet, False))
        asked.append(_asked(case.alert, end + case.cleared, False))
        found.append({"name": case.alert, "interval": f"{STEP}s", "input_series": series, "promql_expr_test": asked})
    healthy = [{"series": one.name, "values": _values(one, 60, 10)} for one in HEALTHY]
    nothing = [{"expr": "ALERTS", "eval_time": f"{minutes}m", "exp_samples": []} for minutes in (5, 30, 75)]
    found.append({"name": "healthy", "interval": f"{STEP}s", "input_series": healthy, "promql_expr_test": nothing})
    return {"rule_files": rules, "evaluation_interval": f"{STEP}s", "tests": found}
