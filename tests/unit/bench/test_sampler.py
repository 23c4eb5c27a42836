"""Sensors, energy, heat and the kernel's log, by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from mi50.bench import host, phases, sampler, thermal
from mi50.bench.sampler import Sample, Windows

from .conftest import Bench
from .test_gpu import Serve, put


def test_slow_clock_below_the_cap_is_heat_and_at_the_cap_is_not() -> None:
    one = Sample(0, 1, 1, 70, 80, 70, 120, 900, 1000, 99)
    assert "below 1380 MHz" in (sampler.throttling([one] * 10, 100, 1725, 225) or "")
    assert sampler.throttling([one._replace(power=224)] * 10, 100, 1725, 225) is None
    assert sampler.throttling([one._replace(busy=20)] * 10, 100, 1725, 225) is None
    assert sampler.throttling([one._replace(temp_junction=None)] * 10, 65, None, None) == (
        "70 degrees Celsius reached (limit 65)"
    )


def test_kernel_log(tmp_path: Path, bench: Bench, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "kmsg"
    log.write_text("6,1,1,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n")  # before: not ours
    monkeypatch.undo()
    kernel = host.KernelLog(log)
    assert kernel.news() == ([], [])
    with log.open("a") as file:
        file.write("3,2,2,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!\n4,3,3,-;Out of memory: Killed process 9\n")
    resets, kills = kernel.news()
    assert resets == ["amdgpu 0000:03:00.0: amdgpu: GPU reset begin!"]
    assert kills == ["Out of memory: Killed process 9"]
    kernel.close()


def test_energy_is_the_area_under_power() -> None:
    rows = [Sample(t * 1_000_000_000, 1, 1, 1, 1, 1, power, 1, 1, 1) for t, power in ((0, 100), (1, 200), (2, 200))]
    assert sampler.energy(rows, 0, 2_000_000_000) == pytest.approx(150 + 200)
    assert sampler.energy(rows, 500_000_000, 2_500_000_000) == pytest.approx(0.5 * 175 + 200 + 0.5 * 200)
    assert sampler.energy(rows, 400_000_000, 600_000_000) == pytest.approx(0.2 * 150)
    assert sampler.energy(rows, 0, 3_000_000_000) is None  # nobody measured near the end
    assert sampler.energy([row._replace(power=None) for row in rows], 0, 2_000_000_000) is None


def test_missing_sensors_are_none(tmp_path: Path) -> None:
    reader = sampler.Reader(tmp_path)
    assert reader.read()[1:] == (None,) * 9
    with sampler.Sampler(None, 10.0) as empty:
        assert (empty.samples, empty.has_temperature) == ([], False)
        assert sampler.telemetry(empty, Windows(0, 1, 2), {}, (100.0, None, None)) is None


def test_the_thread_samples(tmp_path: Path) -> None:
    put(tmp_path)
    with sampler.Sampler(tmp_path, 200.0) as running:
        for _turn in range(200):
            if len(running.samples) > 5:
                break
            phases.time.sleep(0.01)
    assert len(running.samples) > 5
    assert running.samples[0].hottest == 82


def test_flatness_needs_the_whole_window() -> None:
    rows = [Sample(t * 1_000_000_000, 1, 1, None, 60 + (0 if t > 10 else t), 1, 1, 1, 1, 1) for t in range(31)]
    assert thermal.flatness(rows[:15], 20.0) is None
    assert thermal.flatness(rows, 19.0) == 0
    assert (thermal.flatness(rows, 30.0) or 0) > 1
    assert thermal.flatness([], 20.0) is None
