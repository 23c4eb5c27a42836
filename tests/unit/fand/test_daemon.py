"""The whole process on a tree of plain files: start, exit codes, reload, status, memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .live import PACKAGE, Live

Document = Callable[..., dict]
# The daemon may hold 20 MB; the suite's machine is slower and busier than a node, the memory is the same.
BUDGET_KB = 20 * 1024


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def test_life_of_the_daemon(document: Document, tmp_path: Path) -> None:
    with Live(document("two-cards-one-blower"), tmp_path) as live:
        live.start()
        live.ready()
        assert live.process
        live.wait(lambda: live.hear().count("WATCHDOG=1") >= 3, 8)
        assert resident(live.process.pid) <= BUDGET_KB
        shown = live.verb("status")
        assert shown.returncode == 0, shown.stderr
        assert "gpu1 0000:06:00.0" in shown.stdout
        assert json.loads(live.verb("status", "--json").stdout)["state"] == "ok"
        seconds, word = (live.folder / "run" / "heartbeat").read_text().split()
        assert abs(float(Path("/proc/uptime").read_text().split()[0]) - float(seconds)) < 3
        assert word == "ok"
        metrics = (live.folder / "textfile" / "mi50_fand.prom").read_text()
        assert 'mi50_fand_fan_rpm{blower="front"}' in metrics
        channels = (live.folder / "run" / "channels").read_text()
        assert "devices/platform/nct6775.656\tnct6798\t2\tfront" in channels
        second = subprocess.run(
            live.command("run"), env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True, check=False
        )
        assert second.returncode == 3
        assert "LOCKED" in second.stderr
        live.config.write_text("{")
        live.process.send_signal(signal.SIGHUP)
        live.wait(lambda: "RELOADING=1" in live.hear(), 3)
        live.wait(lambda: live.hear().count("READY=1") >= 2, 3)
        assert live.end() == 0
        assert live.pwm() == 255
        stderr = live.process.stderr.read() if live.process.stderr else ""
        assert "RELOAD_REFUSED" in stderr
        assert "LEFT daemon: every owned channel at full speed" in stderr
        assert "STOPPING=1" in live.hear()
    assert live.verb("status").returncode in {0, 3}  # 0 while the last beat is younger than ten seconds


@pytest.mark.parametrize(("spoil", "code", "word"), [("config", 2, "CONFIG_REFUSED"), ("rival", 4, "RIVAL_RUNNING")])
def test_refusals(document: Document, tmp_path: Path, spoil: str, code: int, word: str) -> None:
    with Live(document(), tmp_path) as live:
        if spoil == "config":
            live.config.write_text('{"version": 1}')
        else:
            (live.folder / "proc" / "812").mkdir()
            (live.folder / "proc" / "812" / "comm").write_text("thinkfan\n")
        before = live.pwm()
        done = live.verb("run")
        assert done.returncode == code
        assert word in done.stderr
        assert live.pwm() == before  # nothing was touched


def test_verbs_explain_themselves(document: Document, tmp_path: Path) -> None:
    with Live(document(), tmp_path) as live:
        assert live.verb("status").returncode == 3
        good = live.verb("check")
        assert good.returncode == 0
        assert "good, 0 warnings" in good.stdout
        listing = live.verb("channels")
        assert listing.stdout.splitlines()[1].split("\t")[3] == "front"
        found = json.loads(live.verb("detect", "--json").stdout)
        assert [gpu["pci"] for gpu in found["gpus"]] == ["0000:03:00.0"]
        assert [chip["chip"] for chip in found["chips"]] == ["nct6798"]  # the card's own pwm1 is no fan
        assert live.verb("ack", "gpu9").returncode == 2
        assert live.verb("nonsense").returncode == 2
        assert live.verb("calibrate", "--blower", "none").returncode == 4
        live.config.write_text('{"version": 1}')
        bad = live.verb("check")
        assert bad.returncode == 2
        assert "gpus: missing" in bad.stderr


def test_run_imports_nothing_heavy() -> None:
    """What the budget of memory hangs on: none of these may come in with the loop."""
    code = "import sys, mi50_fand.daemon; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True, check=True
    )
    heavy = {"dataclasses", "inspect", "asyncio", "argparse", "subprocess", "pathlib", "logging", "threading"}
    assert heavy & set(done.stdout.split()) == set()
