"""mi50-fand under a real systemd, as shipped: a container, the role's own files and units, plain files for the fans.

The fans are lab.sysfs's stand-in (no kernel driver; tests/vm has those), the cards idle. What is real: systemd, its
watchdog, its sandbox, signals, processes, locks, file systems, and every file that the role installs.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lab.sysfs
from lab import engine, nodes
from lab.image import build as image
from lab.settings import NAME as LAB
from lab.settings import OURS, from_environment
from tests.conftest import load_plugin

# One container a worker: `pytest -n 3` takes a third of the time, for the tests mostly wait.
NAME = f"{LAB}-process-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
SYS = "/srv/fan/sys"
DEVICE = "devices/platform/nct6775.656"
CHIP = f"{SYS}/{DEVICE}/hwmon/hwmon3"
PWMS = [f"{CHIP}/pwm1", f"{CHIP}/pwm2"]
METRICS = "/var/lib/prometheus/node-exporter"
UNIT = "mi50-fand.service"
OUR_UNITS = f"{UNIT} mi50-fan-guardian.timer mi50-fan-guardian.service mi50-fan-early.service mi50-fan-sleep.service"
DROPIN = f"/etc/systemd/system/{UNIT}.d/test.conf"
HERE = Path(__file__).parent
# Quick to calm down: the daemon's own hold is 20 s.
LAW = {"hold_s": 5, "down_percent_per_s": 5}


def settings(**changes: Any) -> dict[str, Any]:
    """Settings of the role fan_control: two cards, a blower each. Without tachos, for nothing turns here."""
    blowers = [
        {"name": name, "device": DEVICE, "chip": "nct6798", "channel": channel, "tacho": None, "gpus": [card]}
        for name, channel, card in (("left", 1, "0000:03:00.0"), ("right", 2, "0000:06:00.0"))
    ]
    values: dict[str, Any] = {
        "blowers": blowers,
        "gpus": [],
        "stop_units": ["standin-engine.service"],
        "law": LAW,
        "ladder": {},
        "interval": 1,
        "metrics_dir": METRICS,
        "modules": [],
        "guardian_interval": 2,
        "guardian_high": 85,
        "guardian_critical": 98,
        "alarm_program": "",
        "sysfs_root": SYS,
    }
    return {**values, **changes}


class Box:
    """The container, and what tests ask of it."""

    def sh(self, command: str, check: bool = True, data: str | None = None) -> str:
        """Output of a command."""
        return engine.docker("exec", "-i", NAME, "sh", "-c", command, check=check, data=data or "").stdout.strip()

    def code(self, command: str) -> int:
        """Exit code of a command."""
        return engine.docker("exec", NAME, "sh", "-c", command, check=False).returncode

    def probe(self, *words: str) -> dict[str, Any]:
        """What tests/process/probe.py measured inside."""
        answer: dict[str, Any] = json.loads(self.sh(f"python3 /opt/probe.py {' '.join(words)}"))
        return answer

    def put(self, files: dict[str, tuple[str, int]]) -> None:
        """Write files: path -> (text, mode)."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, (text, mode) in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(text.encode()), mode
                archive.addfile(entry, io.BytesIO(text.encode()))
        with tempfile.TemporaryFile() as stream:
            stream.write(packed.getvalue())
            stream.seek(0)
            engine.docker("exec", "-i", NAME, "tar", "-C", "/", "--no-overwrite-dir", "-x", stdin=stream)

    def install(self, **changes: Any) -> None:
        """Every file of the role, as the role writes it."""
        plugin = load_plugin("lookup_plugins", "mi50_fan")
        values = settings(**changes)
        plan = plugin.configured(values)
        files = [*plugin.shipped(), *plugin.rendered(values)]
        put = {file["path"]: (file["content"], int(file["mode"], 8)) for file in files}
        put["/etc/mi50-fand/config.json"] = (plan["config"], 0o644)
        put["/etc/mi50-fand/channels"] = (plan["channels"], 0o644)
        self.put(put)
        self.sh("systemctl daemon-reload")

    def dropin(self, *lines: str) -> None:
        """Settings on top of the shipped unit; none removes them."""
        if lines:
            self.put({DROPIN: ("[Service]\n" + "\n".join(lines) + "\n", 0o644)})
        else:
            self.sh(f"rm -rf {Path(DROPIN).parent}")
        self.sh("systemctl daemon-reload")

    def start(self) -> None:
        """A running daemon with its first cycle behind it."""
        self.sh(f"systemctl restart {UNIT}")

    def show(self, *names: str, unit: str = UNIT) -> dict[str, str]:
        """Properties of a unit."""
        text = self.sh(f"systemctl show {unit} -p {','.join(names)}")
        return dict(line.split("=", 1) for line in text.splitlines())

    def duties(self) -> list[int]:
        """pwmN of the owned channels."""
        return [int(word) for word in self.sh(f"cat {' '.join(PWMS)}").split()]

    def heat(self, celsius: int, card: int = 1) -> None:
        """Temperatures of one card: this junction, the others a little below it."""
        readings = {"temp1": celsius - 9, "temp2": celsius, "temp3": celsius - 14}
        self.sh("; ".join(f"echo {v}000 >{SYS}/class/hwmon/hwmon{card}/{k}_input" for k, v in readings.items()))

    def clean(self) -> None:
        """The container as it was first: nothing of ours runs, and no test's fault is left for the next one."""
        self.sh(f"systemctl disable --now {OUR_UNITS}", check=False)
        leavings = f"{Path(DROPIN).parent} /etc/mi50-fand /run/mi50-fand /run/mi50-fault {METRICS}/*"
        self.sh(f"rm -rf {leavings} && cp -a /srv/fan/pristine/. {SYS}/")
        self.sh("date '+%F %T' >/run/test-began; systemctl daemon-reload; systemctl reset-failed")

    def journal(self, unit: str = UNIT) -> str:
        """What a unit has said since the test began."""
        return self.sh(f'journalctl --no-pager -o cat -u {unit} --since "$(cat /run/test-began)"')


def build_tree(target: Path) -> None:
    """The stand-in: two cards and a board's fan chip."""
    lab.sysfs.build(target / "srv/fan/sys", "two-mi50-fan")


@pytest.fixture(scope="session")
def machine() -> Iterator[Box]:
    """One container for all tests of this folder."""
    engine.docker("rm", "-f", "-v", NAME, check=False)
    name = image.node(from_environment())
    flags = [*nodes.FLAGS, *nodes.CAPABILITIES, "--network=none", "--label", OURS]
    # In a container systemd takes its kernel options from here. No host key and no network: sshd could only fail.
    systemd = ("/lib/systemd/systemd", "systemd.mask=ssh.service")
    engine.docker("run", "-d", "--name", NAME, "--hostname", NAME, *flags, name, *systemd)
    box = Box()
    try:
        nodes.wait_booted(NAME)
        with tempfile.TemporaryDirectory() as scratch:
            build_tree(Path(scratch))
            engine.docker("cp", f"{scratch}/srv/fan", f"{NAME}:/srv/fan")
        box.put({f"/opt/{path.name}": (path.read_text(), 0o755) for path in HERE.glob("probe*.py")})
        box.sh(f"cp -a {SYS} /srv/fan/pristine; mkdir -p {METRICS}")
        yield box
    finally:
        engine.docker("rm", "-f", "-v", NAME, check=False)


@pytest.fixture
def box(machine: Box, request: pytest.FixtureRequest) -> Iterator[Box]:
    """The container with the daemon installed as shipped, running, and everything cool."""
    machine.clean()
    machine.install()
    machine.start()
    yield machine
    if getattr(request.node, "failed", False):
        print(machine.sh("journalctl --no-pager -n 60", check=False))


@pytest.fixture
def unmapped(machine: Box) -> Iterator[Box]:
    """A node without the daemon, whose first two headers have fans that turn."""
    machine.clean()
    machine.sh("systemd-run -q --unit=probe-fans python3 /opt/probe_fans.py")
    yield machine
    machine.sh("systemctl stop probe-fans", check=False)
    machine.clean()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let the fixture know that the test failed, so that it prints the journal."""
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]
