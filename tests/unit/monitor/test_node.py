"""The collector on simulated machines: each value from its file, what is missing left out, nothing raised."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest
from mi50.monitor import node, question, throttle, verify

from lab.sysfs import build

CARD = "0000:03:00.0"


class Machine:
    """Two cards below a folder."""

    def __init__(self, root: Path, preset: str = "two-mi50") -> None:
        self.root = root
        build(root / "sys", preset)
        self.card = root / "sys/bus/pci/devices" / CARD

    def look(self) -> dict[str, float]:
        text = node.metrics(self.root, self.root / "sys", self.root / "proc", self.root / "dev", 2)
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    def value(self, name: str, **labels: str) -> float | None:
        inside = ",".join(f'{key}="{value}"' for key, value in {"gpu": CARD, **labels}.items())
        return self.look().get(f"mi50_gpu_{name}{{{inside}}}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def table(status: int, major: int = 1, minor: int = 0) -> bytes:
    """A gpu_metrics of format 1.0 as C lays it out: 80 bytes, all ones but header and status."""
    content = bytearray(b"\xff" * 80)
    content[0:4] = struct.pack("=HBB", 80, major, minor)
    content[68:72] = struct.pack("=I", status)
    return bytes(content)


def test_values_come_from_their_files(machine: Machine) -> None:
    hwmon = next(machine.card.glob("hwmon/hwmon*"))
    (hwmon / "temp2_input").write_text("101000\n")
    (hwmon / "power1_average").write_text("187500000\n")
    (machine.card / "mem_info_vram_used").write_text("123456789\n")
    (machine.card / "ras/umc_err_count").write_text("ue: 3\nce: 7\n")
    assert machine.value("temperature_celsius", sensor="junction") == 101
    assert machine.value("temperature_limit_celsius", sensor="junction") == 105
    assert machine.value("power_watts") == 187.5
    assert machine.value("vram_used_bytes") == 123456789
    assert machine.value("ras_errors_total", block="umc", type="uncorrectable") == 3
    assert machine.value("ras_errors_total", block="umc", type="correctable") == 7
    assert (machine.look()["mi50_gpu_cards"], machine.look()["mi50_gpu_cards_expected"]) == (2, 2)


def test_an_unreadable_sensor_is_left_out_and_not_zero(machine: Machine) -> None:
    next(machine.card.glob("hwmon/hwmon*/temp2_input")).write_text("n/a\n")
    assert machine.value("temperature_celsius", sensor="junction") is None
    assert machine.value("temperature_celsius", sensor="edge") is not None


@pytest.mark.parametrize("preset", ["none", "unbound", "half-missing", "radeon-vii", "ryzen-igpu-bmc"])
def test_odd_machines_are_described(tmp_path: Path, preset: str) -> None:
    seen = Machine(tmp_path, preset).look()
    assert seen["mi50_gpu_cards"] == (0 if preset == "none" else 1)


def test_throttling_by_reason(machine: Machine) -> None:
    (machine.card / "gpu_metrics").write_bytes(table(1 << 2 | 1 << 13))
    assert machine.value("throttled", reason="junction") == 1
    assert machine.value("throttled", reason="power") == 1
    assert machine.value("throttled", reason="memory") == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 60, table(4, 2), table(4, 1, 3), table(0xFFFFFFFF)])
def test_tables_that_do_not_tell(content: bytes) -> None:
    assert throttle.reasons(content) is None


def test_memory_by_unit(machine: Machine) -> None:
    nodes = machine.root / "sys/class/kfd/kfd/topology/nodes"
    number = next(path for path in sorted(nodes.iterdir()) if (path / "gpu_id").read_text().strip() != "0")
    gpu_id = (number / "gpu_id").read_text().strip()
    held = machine.root / "sys/class/kfd/kfd/proc/4711"
    held.mkdir(parents=True)
    (held / f"vram_{gpu_id}").write_text("5000\n")
    (held / "vram_1").write_text("9\n")
    group = machine.root / "proc/4711/cgroup"
    group.parent.mkdir(parents=True)
    group.write_text("0::/system.slice/mi50-vllm.service\n")
    assert machine.value("unit_vram_bytes", unit="mi50-vllm.service") == 5000
    assert machine.value("rocm_processes") == 1


def test_engines_as_the_health_timer_saw_them(machine: Machine) -> None:
    folder = machine.root / "run/mi50-aipc/serve"
    folder.mkdir(parents=True)
    status = {"name": "vllm", "state": "hung", "model": 'a "b"', "at": 5.0, "restarts": 2, "heals": [{"at": 1.0}]}
    (folder / "vllm.json").write_text(json.dumps({**status, "tokens_per_second": None}))
    (folder / "torn.json").write_text('{"name": ')
    seen = machine.look()
    assert seen['mi50_engine_up{engine="vllm",model="a \\"b\\""}'] == 0
    assert seen['mi50_engine_state{engine="vllm",state="hung"}'] == 1
    assert seen['mi50_engine_restarts_total{engine="vllm"}'] == 2
    assert seen['mi50_engine_heals_recent{engine="vllm"}'] == 0
    assert seen["mi50_engines_running"] == 1
    assert not [name for name in seen if "torn" in name or "tokens" in name]


def test_the_file_is_written_whole(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for name in ("sysfs", "proc", "dev") for word in (f"--{name}-root", str(machine.root / name[:3]))]
    target = machine.root / "out.prom"
    assert node.main(["--metrics", str(target), *words]) == 0
    assert re.search(r"^mi50_gpu_cards 2$", target.read_text(), re.MULTILINE)
    assert target.stat().st_mode & 0o777 == 0o644
    assert node.main(["--metrics", str(machine.root / "no/where.prom"), *words]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_verification_as_metrics() -> None:
    checks = [{"id": "card.heat", "status": "fail"}, {"id": "os.arch", "status": "ok"}]
    text = verify.text({"ok": False, "checks": checks}, 12.3)
    assert "mi50_verify_ok 0\n" in text
    assert 'mi50_verify_check_status{id="card.heat"} 2\n' in text
    assert 'mi50_verify_check_status{id="os.arch"} 0\n' in text


def test_the_question_of_a_node(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/prometheus/node-exporter"
    folder.mkdir(parents=True)
    folder.chmod(0o1775)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"prometheus:x:9:{folder.stat().st_gid}::/:/bin/false\n")
    block = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
    options = {
        "files": [],
        "package": "/usr/local/lib/mi50-monitor",
        "units": ["mi50-monitor.timer"],
        "metrics_dir": "/var/lib/prometheus/node-exporter",
        "user": "prometheus",
    }
    seen = question.answer(options, lambda _words: (0, "\n".join([block] * 3)), tmp_path)
    assert seen["settled"], seen
    assert seen["exporter_before"]
    folder.chmod(0o755)
    assert not question.answer(options, lambda _words: (0, "\n".join([block] * 3)), tmp_path)["settled"]
    with pytest.raises(question.Unanswered):
        question.answer(options, lambda _words: (1, ""), tmp_path)
