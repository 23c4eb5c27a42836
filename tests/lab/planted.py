"""What makes each alert fire on lab nodes, and what takes it away: commands for a node's shell, and a past.

Cards are the lab's sysfs trees, fans and a full disk are text files for node-exporter, an engine that nobody looks at
is the status that its health timer would leave. Alerts that look back over hours get those hours from promtool, as
blocks that Prometheus takes for its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

WATCH, SERVE, SPARE = NODES = ("node4", "node5", "node6")
TEXT = "/var/lib/prometheus/node-exporter"
STORED = "/var/lib/prometheus/metrics2"
PCI = "bus/pci/devices"
ONE, TWO = (f"/srv/mi50-lab/presets/{preset}/{PCI}/0000:03:00.0" for preset in ("one-mi50", "two-mi50"))
SECOND = f"/srv/mi50-lab/presets/two-mi50/{PCI}/0000:06:00.0"
BROKEN = "/run/systemd/system/mi50-llama_cpp.service.d/broken.conf"
GHOST = "/run/mi50-aipc/serve/ghost.json"
AWAY = "/srv/mi50-lab/away"
# gpu_metrics of format 1.0 that says: junction too hot (bit 2 at byte 68). octal, for printf
TABLE = r"\140\000\001\000" + r"\000" * 64 + r"\004\000\000\000" + r"\000" * 24
HOT = f"{TWO}/hwmon/hwmon*/temp2_input"
AGAIN = "systemctl daemon-reload; systemctl reset-failed mi50-llama_cpp; systemctl restart mi50-llama_cpp"
IN_USE = 8 << 30  # bytes of a card that nobody known uses
FANS = """\
mi50_fand_alarm{subject="front",code="FAN_STALLED"} 1
mi50_fand_alarm{subject="front",code="FAN_WEAK"} 1
mi50_fand_state 1
mi50_fand_verified{blower="front"} 0
mi50_fand_last_cycle_boottime_seconds 1
mi50_fand_ladder_rung{gpu="0000:03:00.0"} 1
"""
# Beside node-exporter's own, so with its own words for each metric: it gives out none of two that differ.
DISK = "/models"
FULL = """\
# HELP node_filesystem_avail_bytes Filesystem space available to non-root users in bytes.
# TYPE node_filesystem_avail_bytes gauge
node_filesystem_avail_bytes{device="/dev/full",fstype="ext4",mountpoint="/models"} 5e9
# HELP node_filesystem_size_bytes Filesystem size in bytes.
# TYPE node_filesystem_size_bytes gauge
node_filesystem_size_bytes{device="/dev/full",fstype="ext4",mountpoint="/models"} 1e11
# HELP node_filesystem_readonly Filesystem read-only status.
# TYPE node_filesystem_readonly gauge
node_filesystem_readonly{device="/dev/full",fstype="ext4",mountpoint="/models"} 0
"""


class Condition(NamedTuple):
    """Commands that plant it on a node and take it away, and the alerts that come of it."""

    alerts: Sequence[str]
    node: str
    plant: str
    mend: str


def _written(text: str, path: str) -> str:
    return f"cat >{path} <<'END'\n{text}END\n"


# Planted as soon as there is a Prometheus, because some have to hold for a quarter of an hour.
LONG = (
    Condition(
        ["Mi50PowerCapEngaged"],
        SPARE,
        f"cat {ONE}/hwmon/hwmon*/power1_cap >$(ls {ONE}/hwmon/hwmon*/power1_average)",
        f"echo 19000000 >$(ls {ONE}/hwmon/hwmon*/power1_average)",
    ),
    Condition(
        ["Mi50VramLeak", "Mi50VramGrows"],
        SPARE,
        f"echo {IN_USE} >{ONE}/mem_info_vram_used",
        f"echo 12103680 >{ONE}/mem_info_vram_used",
    ),
    Condition(
        ["Mi50SensorSilent"],
        SPARE,
        f"mv {ONE}/hwmon/hwmon*/temp2_input {AWAY}",
        f"mv {AWAY} $(dirname {ONE}/hwmon/hwmon*/temp2_label)/temp2_input",
    ),
    Condition(["Mi50DiskNearlyFull"], SPARE, _written(FULL, f"{TEXT}/disk.prom"), f"rm {TEXT}/disk.prom"),
    Condition(
        ["Mi50FanStalled", "Mi50FanWeak", "Mi50FanDaemonFault", "Mi50FanUnverified", "Mi50FanDaemonSilent",
         "Mi50FanLadder"],
        SPARE,
        _written(FANS, f"{TEXT}/mi50_fand.prom"),
        f"rm {TEXT}/mi50_fand.prom",
    ),
    Condition(
        ["Mi50FanFailSafe", "Mi50TextFileStale"],
        SPARE,
        f"echo mi50_fan_guardian_state 2 >{TEXT}/mi50_fan_guardian.prom;"
        f" touch -d '10 minutes ago' {TEXT}/mi50_fan_guardian.prom",
        f"rm {TEXT}/mi50_fan_guardian.prom",
    ),
    Condition(
        ["Mi50EngineHealed", "Mi50EngineUnwatched", "Mi50EngineCrashes"],
        SPARE,
        f"mkdir -p $(dirname {GHOST}); printf '%s' '"
        + json.dumps({"name": "ghost", "state": "stopped", "at": 1, "restarts": 0, "heals": [{"at": "NOW"}]}).replace(
            '"NOW"', "'$(date +%s)'"
        )
        + f"' >{GHOST}",
        f"rm {GHOST}",
    ),
    Condition(["Mi50EccCorrectable", "Mi50PcieReplays"], SPARE, "true", "true"),  # of the past alone
    Condition(
        ["Mi50CollectorMissing"],
        WATCH,
        f"systemctl stop mi50-monitor.timer mi50-monitor.service; rm {TEXT}/mi50_monitor.prom",
        "systemctl start mi50-monitor.timer",
    ),
)  # fmt: skip
# What comes of a node that dies under load, by its gateway as well.
GONE = {
    ("Mi50NodeDown", SERVE),
    ("Mi50EngineMetricsDown", SERVE),
    ("Mi50GatewayNoBackend", WATCH),
    ("Mi50GatewayServerDown", WATCH),
    ("Mi50GatewayErrors", WATCH),
}
SOON = (
    Condition(["Mi50CardHot", "Mi50CardAtLimit"], SERVE, f"echo 107000 >$(ls {HOT})", f"echo 41000 >$(ls {HOT})"),
    Condition(["Mi50CardThrottled"], SERVE, f"printf '{TABLE}' >{TWO}/gpu_metrics", f"rm {TWO}/gpu_metrics"),
    Condition(
        ["Mi50EccUncorrectable"],
        SERVE,
        f"printf 'ue: 3\\nce: 0\\n' >{TWO}/ras/umc_err_count",
        f"printf 'ue: 0\\nce: 0\\n' >{TWO}/ras/umc_err_count",
    ),
    Condition(["Mi50CardLost"], SERVE, f"mv {SECOND} {AWAY}", f"mv {AWAY} {SECOND}"),
    Condition(["Mi50TextFileBroken"], SERVE, f"echo 'no metric' >{TEXT}/broken.prom", f"rm {TEXT}/broken.prom"),
    Condition(
        ["Mi50EngineDown"],
        SERVE,
        f"mkdir -p {BROKEN.rpartition('/')[0]}; printf '[Service]\\nExecStartPre=/bin/false\\n' >{BROKEN};"
        " systemctl daemon-reload; systemctl restart mi50-llama_cpp || true",
        f"rm {BROKEN}; {AGAIN}",
    ),
    Condition(["Mi50GatewayDown"], WATCH, "systemctl stop mi50-gateway", "systemctl start mi50-gateway"),
)


def of(conditions: Sequence[Condition]) -> set[tuple[str, str]]:
    """The alerts of these conditions, each with its node."""
    return {(alert, one.node) for one in conditions for alert in one.alerts}


def _jump(height: float) -> Callable[[float], float]:
    """A counter that rose 56 minutes ago: four minutes on, it has not risen for an hour."""
    return lambda ago: 0 if ago > 56 else height


# Series of the spare node with what they were worth so many minutes ago; 200 MiB an hour more is growth.
PAST: Mapping[str, Callable[[float], float]] = {
    f'mi50_gpu_ras_errors_total{{instance="{SPARE}",block="umc",type="correctable"}}': _jump(40),
    f'mi50_gpu_pcie_replays_total{{instance="{SPARE}"}}': _jump(400),
    f'mi50_engine_restarts_total{{instance="{SPARE}",engine="ghost"}}': _jump(5),
    f'mi50_gpu_vram_used_bytes{{instance="{SPARE}"}}': lambda ago: IN_USE - ago / 60 * (200 << 20),
}
_MINUTES = 200


def past(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """OpenMetrics for promtool: `found` is what Prometheus has of each of PAST; its past ends where that begins."""
    now, lines = time.time(), []
    for selector, worth in PAST.items():
        (series,) = found[selector]
        labels = dict(series["metric"])
        name = labels.pop("__name__")
        inside = ",".join(f"{label}={json.dumps(value)}" for label, value in sorted(labels.items()))
        for ago in range(_MINUTES, 0, -1):
            if now - ago * 60 < series["values"][0][0]:
                lines.append(f"{name}{{{inside}}} {worth(ago)} {now - ago * 60:.3f}")
    return "\n".join([*lines, "# EOF", ""])
