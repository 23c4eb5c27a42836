"""Reads a GPU's sensors from sysfs in a thread of its own, ten times a second.

Source of the files: the kernel's Documentation/gpu/amdgpu (mem_info_*, hwmon). Open once and read in place: a tool such
as rocm-smi starts a process for each reading. Times are monotonic nanoseconds, as the stream's.
"""

from __future__ import annotations

import bisect
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..amdgpu.sensors import find_hwmon

_LABELS = {"edge": "temp_edge", "junction": "temp_junction", "mem": "temp_mem"}
_GAP_NS = 500_000_000
_DEFAULT_TEMPS = {"temp_edge": "temp1_input", "temp_junction": "temp2_input", "temp_mem": "temp3_input"}


class Sample(NamedTuple):
    """One reading; None for a sensor that is missing. Bytes, degrees Celsius, watts, MHz, per cent."""

    t_ns: int
    vram: float | None
    gtt: float | None
    temp_edge: float | None
    temp_junction: float | None
    temp_mem: float | None
    power: float | None
    sclk: float | None
    mclk: float | None
    busy: float | None

    @property
    def hottest(self) -> float | None:
        """Return the junction's temperature, or the edge's where there is none."""
        return self.temp_junction if self.temp_junction is not None else self.temp_edge


def sensor_files(device: Path) -> dict[str, tuple[Path, float]]:
    """Return where each value of a sample is and what its unit is multiplied with."""
    files = {
        "vram": (device / "mem_info_vram_used", 1.0),
        "gtt": (device / "mem_info_gtt_used", 1.0),
        "busy": (device / "gpu_busy_percent", 1.0),
    }
    hwmon = find_hwmon(device)
    if hwmon is None:
        return files
    temps = dict(_DEFAULT_TEMPS)
    for label in sorted(hwmon.glob("temp*_label")):
        name = _LABELS.get(label.read_text(encoding="ascii", errors="replace").strip())
        if name:
            temps[name] = label.name.replace("_label", "_input")
    files.update({name: (hwmon / file, 1e-3) for name, file in temps.items()})
    power = "power1_average" if (hwmon / "power1_average").exists() else "power1_input"
    files["power"] = (hwmon / power, 1e-6)
    files["sclk"] = (hwmon / "freq1_input", 1e-6)
    files["mclk"] = (hwmon / "freq2_input", 1e-6)
    return files


class Reader:
    """Keeps the sensor files open."""

    def __init__(self, device: Path) -> None:
        """Open what there is; a file that is missing reads as None."""
        self._files: dict[str, tuple[int, float]] = {}
        for name, (path, scale) in sensor_files(device).items():
            try:
                self._files[name] = (os.open(path, os.O_RDONLY | os.O_CLOEXEC), scale)
            except OSError:
                continue

    def read(self) -> Sample:
        """Take one sample."""
        values: dict[str, float | None] = {}
        for name in Sample._fields[1:]:
            values[name] = None
            if name in self._files:
                descriptor, scale = self._files[name]
                try:
                    values[name] = int(os.pread(descriptor, 32, 0)) * scale
                except (OSError, ValueError):
                    continue  # a card that sleeps or was lost answers with an error
        return Sample(time.monotonic_ns(), **values)

    def close(self) -> None:
        """Close the files."""
        for descriptor, _scale in self._files.values():
            os.close(descriptor)
        self._files = {}


class Sampler:
    """A thread that samples until it is stopped; without a device it gives no samples."""

    def __init__(self, device: Path | None, rate_hz: float) -> None:
        """Prepare; start() starts it."""
        self._reader = Reader(device) if device is not None else None
        self._interval = 1.0 / rate_hz
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def has_temperature(self) -> bool:
        """Tell whether the device has a temperature sensor that answers."""
        return any(sample.hottest is not None for sample in self.samples[-1:])

    def __enter__(self) -> Sampler:
        """Take the first sample and start the thread."""
        if self._reader is not None:
            self.samples.append(self._reader.read())
            self._thread = threading.Thread(target=self._run, name="mi50-bench-sampler", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop the thread and close the files."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._reader is not None:
            self._reader.close()

    def _run(self) -> None:
        reader = self._reader
        due = time.monotonic() + self._interval
        while reader is not None and not self._stop.wait(max(0.0, due - time.monotonic())):
            self.samples.append(reader.read())
            due = max(due + self._interval, time.monotonic())

    def between(self, start_ns: int | None, end_ns: int | None) -> list[Sample]:
        """Return the samples of a window."""
        if start_ns is None or end_ns is None:
            return []
        return [sample for sample in list(self.samples) if start_ns <= sample.t_ns <= end_ns]


def _values(samples: Sequence[Sample], name: str) -> list[float]:
    return [value for sample in samples if (value := getattr(sample, name)) is not None]


def _pick(choose: Callable[[list[float]], float], samples: Sequence[Sample], name: str) -> float | None:
    values = _values(samples, name)
    return choose(values) if values else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _power_at(times: Sequence[int], powers: Sequence[float], t_ns: int) -> float | None:
    """Return the power at a time between two samples; None further from any sample than a gap in sampling may be."""
    right = bisect.bisect_left(times, t_ns)
    near = [i for i in (right - 1, right) if 0 <= i < len(times) and abs(times[i] - t_ns) <= _GAP_NS]
    if len(near) == 2 and times[near[1]] > times[near[0]]:
        share = (t_ns - times[near[0]]) / (times[near[1]] - times[near[0]])
        return powers[near[0]] + share * (powers[near[1]] - powers[near[0]])
    return powers[near[0]] if near else None


def energy(samples: Sequence[Sample], start_ns: int | None, end_ns: int | None) -> float | None:
    """Return joules between two times: trapezoids over the samples, interpolated at both ends.

    None where power is not measured, or no sample is near an end.
    """
    rows = [(sample.t_ns, sample.power) for sample in samples if sample.power is not None]
    if start_ns is None or end_ns is None or end_ns <= start_ns or not rows:
        return None
    times, powers = [t for t, _power in rows], [power for _t, power in rows]
    first, last = _power_at(times, powers, start_ns), _power_at(times, powers, end_ns)
    if first is None or last is None:
        return None
    inside = rows[bisect.bisect_right(times, start_ns) : bisect.bisect_left(times, end_ns)]
    points = [(start_ns, first), *inside, (end_ns, last)]
    return sum((b[0] - a[0]) / 1e9 * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:]))


def throttling(samples: Sequence[Sample], limit_c: float, sclk_max: float | None, cap_w: float | None) -> str | None:
    """Return what shows that heat slowed the card down; None where nothing does.

    At the power cap a lower clock is what the cap is for. Below it, with the GPU busy, only heat is left.
    """
    hottest = max((t for s in samples if (t := s.hottest) is not None), default=None)
    if hottest is not None and hottest >= limit_c:
        return f"{hottest:.0f} degrees Celsius reached (limit {limit_c:.0f})"
    if not sclk_max or not cap_w:
        return None
    slow = [
        s
        for s in samples
        if s.busy is not None
        and s.busy >= 90
        and s.sclk
        and s.sclk < 0.8 * sclk_max
        and s.power
        and s.power < 0.9 * cap_w
    ]
    if samples and len(slow) > 0.2 * len(samples):
        return f"{len(slow)} of {len(samples)} samples busy below {0.8 * sclk_max:.0f} MHz and below the power cap"
    return None


class Windows(NamedTuple):
    """Where in time a request's parts lie (monotonic nanoseconds)."""

    start: int | None
    first: int | None
    end: int | None


def telemetry(
    sampler: Sampler, window: Windows, baseline: dict[str, int | None], limits: tuple[float, float | None, float | None]
) -> dict[str, Any] | None:
    """Return the telemetry record of a window; `limits` are throttle temperature, greatest clock, power cap."""
    everything = list(sampler.samples)
    samples = sampler.between(window.start, window.end)
    if not samples:
        return None
    half = (window.first or samples[0].t_ns) + ((window.end or 0) - (window.first or samples[0].t_ns)) // 2
    late = [sample for sample in samples if sample.t_ns >= half] or samples
    peak, before = _pick(max, samples, "vram"), baseline.get("vram")
    gtt_peak, gtt_before = _pick(max, samples, "gtt"), baseline.get("gtt")
    heat = throttling(samples, *limits)
    span = (samples[-1].t_ns - samples[0].t_ns) / 1e9
    hottest = [t for s in samples if (t := s.hottest) is not None]
    return {
        "vram_baseline": before,
        "vram_loaded": baseline.get("loaded"),
        "vram_peak": _whole(peak),
        "vram_steady": _whole(_pick(statistics.median, late, "vram")),
        "vram_framework": _whole(peak - before) if peak is not None and before is not None else None,
        "gtt_baseline": gtt_before,
        "gtt_peak": _whole(gtt_peak),
        "gtt_delta": _whole(gtt_peak - gtt_before) if gtt_peak is not None and gtt_before is not None else None,
        "power_mean_w": _pick(statistics.fmean, samples, "power"),
        "power_max_w": _pick(max, samples, "power"),
        "energy_prefill_j": energy(everything, window.start, window.first),
        "energy_decode_j": energy(everything, window.first, window.end),
        "temp_start_c": hottest[0] if hottest else None,
        "temp_max_c": max(hottest) if hottest else None,
        "temp_mem_max_c": _pick(max, samples, "temp_mem"),
        "sclk_min_mhz": _pick(min, samples, "sclk"),
        "sclk_mean_mhz": _pick(statistics.fmean, samples, "sclk"),
        "mclk_min_mhz": _pick(min, samples, "mclk"),
        "busy_mean_pct": _pick(statistics.fmean, samples, "busy"),
        "throttled": heat is not None if hottest else None,
        "throttle_reason": heat,
        "samples": len(samples),
        "rate_hz": (len(samples) - 1) / span if span > 0 else None,
    }
