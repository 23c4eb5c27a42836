"""F33 to F35: bad installs, bad reloads and a machine in trouble change nothing about the air."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import load_plugin
from tests.process.conftest import CHIP, METRICS, SYS, UNIT, Box, settings

pytestmark = pytest.mark.process
CONFIG = "/etc/mi50-fand/config.json"
LIBRARY = "/usr/local/lib/mi50-fand/mi50_fand"
# systemd counts every restart; 50 of them at the shipped RestartSec=1 take a minute, so the loop runs at 20 ms:
# harder on the start limit, the same otherwise. What RestartSec= is as shipped: test_shipped_unit.py.
LOOPS = 50
BREAK: dict[str, str] = {
    "bad config": f"echo '{{' >{CONFIG}",
    "import error": f"echo 'raise ImportError(1)' >>{LIBRARY}/engine.py",
    "missing python": "sed -i '1s|.*|#!/nonexistent/python3|' /usr/local/bin/mi50-fand",
}


@pytest.mark.parametrize(("name", "loops"), [("bad config", LOOPS), ("import error", 10), ("missing python", 10)])
def test_f33_crash_loop(box: Box, name: str, loops: int) -> None:
    box.dropin("RestartSec=20ms")
    box.sh(f"{BREAK[name]}; echo 64 >{CHIP}/pwm1; echo 64 >{CHIP}/pwm2; systemctl kill -s KILL {UNIT}")
    restarts, lowest, end = 0, 255, time.monotonic() + 60
    assert box.probe("until", f"{CHIP}/pwm1", "255")["seconds"] >= 0
    while restarts < loops and time.monotonic() < end:
        lowest = min(lowest, box.probe("watch", "1")["lowest"])
        seen = box.show("NRestarts", "ActiveState")
        restarts = int(seen["NRestarts"])
        assert seen["ActiveState"] != "failed"
    assert restarts >= loops
    assert lowest == 255
    # The alarm comes from the guardian: the cards are cool, so the second look in a row raises it.
    box.sh("rm -f /run/mi50-fand/heartbeat; systemctl start mi50-fan-guardian.service mi50-fan-guardian.service")
    box.sh("systemctl start mi50-fan-guardian.service")
    assert "GUARDIAN silent" in box.journal("mi50-fan-guardian.service")
    assert "mi50_fan_guardian_state 1" in box.sh(f"cat {METRICS}/mi50_fan_guardian.prom")


def mistakes() -> dict[str, Callable[[dict[str, Any]], None]]:
    """Each breaks a good configuration in one way."""
    return {
        "non-monotonic curve": lambda c: c["gpus"][0].update(curves={"junction": [[45, 50], [70, 40], [90, 100]]}),
        "not full below crit": lambda c: c["gpus"][0].update(curves={"junction": [[45, 25], [104, 100]]}),
        "floor 0": lambda c: c["blowers"][0].update(floor=0),
        "unknown key": lambda c: c["blowers"][0].update(chanel=2),
        "duplicate channel": lambda c: c["blowers"][1].update(channel=1),
        "no blower for a card": lambda c: c["blowers"].pop(),
        "the card's own phantom fan": lambda c: c["blowers"][0].update(
            chip="amdgpu", device="devices/pci0000:00/0000:03:00.0"
        ),
    }


def good() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(load_plugin("lookup_plugins", "mi50_fan").configured(settings())["config"])
    return parsed


def test_f34_bad_reload(box: Box) -> None:
    pid = box.show("MainPID")
    texts = {"syntax error": '{"version": 1,'}
    for name, spoil in mistakes().items():
        config = copy.deepcopy(good())
        spoil(config)
        texts[name] = json.dumps(config)
    for name, text in texts.items():
        box.put({CONFIG: (text, 0o644)})
        assert box.code(f"mi50-fand check --config {CONFIG} --sysfs-root {SYS}") == 2, name
        refused = box.journal().count("RELOAD_REFUSED")
        box.sh(f"systemctl reload {UNIT}")
        end = time.monotonic() + 3
        while box.journal().count("RELOAD_REFUSED") == refused and time.monotonic() < end:
            time.sleep(0.1)
        assert box.journal().count("RELOAD_REFUSED") > refused, name
    assert box.show("MainPID") == pid
    assert "RELOADED" not in box.journal()
    box.put({CONFIG: (json.dumps(good()), 0o644)})
    assert box.code(f"mi50-fand check --config {CONFIG} --sysfs-root {SYS}") == 0
    box.heat(101)
    assert box.probe("until", f"{CHIP}/pwm1", "255")["seconds"] >= 0


def governed(box: Box) -> None:
    """The daemon comes down from full speed when it may, goes up when it must, and is never restarted meanwhile."""
    pid = box.show("MainPID")
    end = time.monotonic() + 15
    while min(box.duties()) == 255 and time.monotonic() < end:
        time.sleep(0.3)
    assert max(box.duties()) < 255
    box.heat(95)
    began = time.monotonic()
    while int(box.sh(f"cat {CHIP}/pwm1") or 0) < 255 and time.monotonic() - began < 5:
        time.sleep(0.1)
    assert time.monotonic() - began < 3
    assert box.show("MainPID") == pid


def test_f35_disk_full(box: Box) -> None:
    box.sh(f"systemctl stop {UNIT}; mount -t tmpfs -o size=16k tmpfs /run/mi50-fand")
    box.sh(f"mount -t tmpfs -o size=4k tmpfs {METRICS}")
    try:
        box.sh(f"cat /dev/zero >{METRICS}/fill; cat /dev/zero >/run/mi50-fand/fill", check=False)
        box.start()
        governed(box)
    finally:
        box.sh(f"systemctl stop {UNIT}; umount /run/mi50-fand {METRICS}", check=False)


def test_f35_journal_stopped_and_metrics_unwritable(box: Box) -> None:
    units = (
        "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald.service"
    )
    box.sh(f"mkdir {METRICS}/mi50_fand.prom; systemctl stop {units}", check=False)
    try:
        governed(box)
    finally:
        box.sh("systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service")


def test_f35_output_goes_nowhere(box: Box) -> None:
    box.dropin("StandardOutput=null", "StandardError=file:/dev/full")
    box.start()
    governed(box)
