"""What a GPU adds to a cell: memory, heat, energy, and the ways in which it dies. The sysfs is a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mi50.bench import api, baseline, host, record, sampler
from mi50.bench.sampler import Sample

from .conftest import Bench
from .virtual import MS, Script, Server, llamacpp

BDF = "0000:03:00.0"
SENSORS = {
    "mem_info_vram_used": 28_000_000_000,
    "mem_info_gtt_used": 9_000_000,
    "gpu_busy_percent": 99,
    "hwmon/hwmon3/temp1_input": 70_000,
    "hwmon/hwmon3/temp2_input": 82_000,
    "hwmon/hwmon3/temp3_input": 78_000,
    "hwmon/hwmon3/power1_average": 200_000_000,
    "hwmon/hwmon3/freq1_input": 1_700_000_000,
    "hwmon/hwmon3/freq2_input": 1_000_000_000,
}
LABELS = {"temp1_label": "edge", "temp2_label": "junction", "temp3_label": "mem"}


def put(device: Path, **changes: int) -> None:
    for name, value in {**SENSORS, **changes}.items():
        path = device / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    for name, text in LABELS.items():
        (device / "hwmon/hwmon3" / name).write_text(text + "\n")


@pytest.fixture
def card(roots: host.Roots) -> Path:
    """One MI50 in the sysfs tree."""
    device = roots.sysfs / "bus/pci/devices" / BDF
    put(device)
    for name, value in {"vendor": "0x1002", "device": "0x66a1", "class": "0x038000", "revision": "0x02",
                        "mem_info_vram_total": str(34342961152), "vbios_version": "113-X",
                        "pp_dpm_sclk": "0: 925Mhz *\n1: 1725Mhz"}.items():  # fmt: skip
        (device / name).write_text(value + "\n")
    (device / "hwmon/hwmon3/power1_cap").write_text("225000000\n")
    return device


class Manual(sampler.Sampler):
    """Samples at each tick of the virtual clock instead of in a thread."""

    def __enter__(self) -> Manual:
        if self._reader is not None:
            self.samples.append(self._reader.read())
        return self


@pytest.fixture
def ticking(clock: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take a sample whenever the server sends something: as if time had gone on in between."""
    monkeypatch.setattr("mi50.bench.cell.Sampler", Manual)
    made: list[Manual] = []
    old = Manual.__enter__

    def enter(self: Manual) -> Manual:
        made.append(self)
        return old(self)

    monkeypatch.setattr(Manual, "__enter__", enter)
    now = clock.monotonic_ns

    def tick() -> int:
        for one in made[-1:]:
            if one._reader is not None and (not one.samples or clock.now_ns - one.samples[-1].t_ns >= 50 * MS):
                values = one._reader.read()._replace(t_ns=clock.now_ns)
                one.samples.append(values)
        return now()

    monkeypatch.setattr(clock, "monotonic_ns", lambda: tick() if not getattr(clock, "inside", False) else now())

    def guarded(original: Callable[[Any], Sample]) -> Callable[[Any], Sample]:
        def read(self: Any) -> Sample:
            clock.inside = True
            try:
                return original(self)
            finally:
                clock.inside = False

        return read

    monkeypatch.setattr(sampler.Reader, "read", guarded(sampler.Reader.read))
    return lambda: None


def good(document: dict[str, Any], _number: int) -> tuple[Script, str]:
    return llamacpp(40, document["max_tokens"], 200, 10), "close"


Serve = Callable[..., Server]


def test_sensors_of_a_cell(serve: Serve, bench: Bench, card: Path, ticking: object) -> None:
    serve(good)
    put(card, mem_info_vram_used=10_000_000)
    api.take_baseline(bench.params, bench.roots, "before", 512)
    put(card)
    api.take_baseline(bench.params, bench.roots, "loaded", 512)
    bench.set(measure={"thermal": "off"}, model={"bytes": 17_000_000_000})
    cell = bench.cell()
    vram = cell["vram"]
    assert cell["status"] == record.OK, cell["reject_reason"]
    assert (vram["baseline"], vram["loaded"], vram["peak"], vram["framework"]) == (
        10_000_000, 28_000_000_000, 28_000_000_000, 27_990_000_000,
    )  # fmt: skip
    assert (vram["weights"], vram["gtt_delta"], vram["total"]) == (17_000_000_000, 0, 34342961152)
    seen = cell["telemetry"]
    assert (seen["temp_max_c"], seen["sclk_min_mhz"], seen["power_mean_w"], seen["throttled"]) == (82, 1700, 200, False)
    # 200 W over the 470 ms of 47 tokens, and over the 203 ms of 40.
    assert cell["metrics"]["e_dec"]["median"] == pytest.approx(200 * 0.47 / 47, rel=0.01)
    assert cell["metrics"]["e_pf"]["median"] == pytest.approx(200 * 0.203 / 40, rel=0.01)
    assert bench.rows("run")[0]["gpu"]["bdf"] == BDF
    assert cell["samples_file"]


def test_throttling_is_a_status(serve: Serve, bench: Bench, card: Path, ticking: object) -> None:
    serve(good)
    put(card, **{"hwmon/hwmon3/temp2_input": 103_000})
    cell = bench.set(measure={"thermal": "off"}).cell()
    assert (cell["status"], "103 degrees" in cell["reject_reason"]) == (record.THERMAL, True)
    assert cell["headline"]["decode"]["median"] == pytest.approx(100)  # shown, with its status


def test_preheat_until_flat(serve: Serve, bench: Bench, card: Path, clock: Any, ticking: object) -> None:
    """The card warms for thirty seconds; measuring begins when the last twenty are flat."""
    start = clock.now_ns

    def heating(document: dict[str, Any], _number: int) -> tuple[Script, str]:
        warm = min(82_000, 50_000 + (clock.now_ns - start) // 1_000_000)
        put(card, **{"hwmon/hwmon3/temp2_input": warm})
        return llamacpp(40, document["max_tokens"], 200, 20), "close"

    serve(heating)
    cell = bench.cell()
    heat = cell["controls"]["preheat"]
    assert (cell["status"], heat["state"]) == (record.OK, "warm")
    assert 45 < heat["seconds"] < 60
    assert [row["rep"]["thermal_state"] for row in bench.rows() if row["rep"]["role"] == "measured"] == ["warm"] * 6


def test_no_steady_temperature(serve: Serve, bench: Bench, card: Path, clock: Any, ticking: object) -> None:
    def heating(document: dict[str, Any], number: int) -> tuple[Script, str]:
        put(card, **{"hwmon/hwmon3/temp2_input": 40_000 + 200 * number})
        return llamacpp(40, document["max_tokens"], 200, 20), "close"

    serve(heating)
    cell = bench.set(measure={"preheat_cap": 40}).cell()
    assert (cell["status"], cell["controls"]["preheat"]["state"]) == (record.THERMAL, "cap")
    assert "no steady temperature within 4" in cell["reject_reason"]


def test_a_node_without_sensors_says_so(serve: Serve, bench: Bench) -> None:
    serve(good)
    cell = bench.cell()
    assert cell["controls"]["preheat"]["state"] == "no_sensors"
    assert "no temperature sensor: the thermal state is unknown" in cell["warnings"]
    assert (cell["telemetry"], cell["vram"], cell["samples_file"]) == (None, None, None)
    assert cell["metrics"]["e_dec"]["reason"] == "no power sensor"


def test_dirty_baseline(serve: Serve, bench: Bench, card: Path, roots: host.Roots, clock: Any,
                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(baseline, "time", clock)
    server = serve(good)
    process = roots.proc / "77"
    (process / "fdinfo").mkdir(parents=True)
    text = f"drm-pdev:\t{BDF}\ndrm-client-id:\t5\ndrm-memory-vram:\t8388608 KiB\n"
    for number in (3, 4):
        (process / "fdinfo" / str(number)).write_text(text)
    (process / "comm").write_text("forgotten\n")
    put(card, mem_info_vram_used=8_600_000_000)
    taken = api.take_baseline(bench.params, roots, "before", 512)
    assert taken["status"] == record.DIRTY_BASELINE
    assert "forgotten (77): 8192 MiB" in taken["baseline"]["reason"]
    cell = bench.cell()
    assert (cell["status"], server.asked) == (record.DIRTY_BASELINE, [])
    put(card, mem_info_vram_used=10_000_000)
    bench.set(measure={"thermal": "off"})
    assert api.take_baseline(bench.params, roots, "before", 512)["status"] == record.OK
    assert bench.cell()["status"] == record.OK  # the refused cell is measured again
    put(card, mem_info_vram_used=2_000_000_000)
    after = api.take_baseline(bench.params, roots, "after", 512)["baseline"]
    assert (after["status"], after["leak_bytes"]) == (record.DIRTY_BASELINE, 1_990_000_000)


def stat(directory: Path, started: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    fields = " ".join(["S", *["0"] * 18, str(started), "0"])
    (directory / "stat").write_text(f"9 (llama server) {fields}\n")


@pytest.mark.parametrize("restarted", [True, False])
def test_server_died(serve: Serve, bench: Bench, roots: host.Roots, restarted: bool) -> None:
    """The third request kills it; a service manager may have started it again with the same id."""
    stat(roots.proc / "9", 100)

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        if number != 2:
            return good(document, number)
        (roots.proc / "9/stat").unlink()
        if restarted:
            stat(roots.proc / "9", 200)
        return [(2 * MS, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")], "reset"

    server = serve(answer)
    cell = bench.set(engine={"pid": 9}).cell()
    assert (cell["status"], cell["ok"], cell["measured"]) == (record.SERVER_DIED, 1, 2)
    assert len(server.asked) == 3
    serve(good)
    stat(roots.proc / "9", 200)
    assert bench.cell()["status"] == record.OK  # another attempt, as the default of measure.redo says
    assert bench.rows("cell")[-1]["attempt"] == 2


def test_gpu_reset_and_kernel_oom_beat_the_transport(bench: Bench, serve: Serve, roots: host.Roots,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    serve(good)
    news = [([], []), ([], []), (["amdgpu: GPU reset begin!"], [])]
    monkeypatch.setattr(host.KernelLog, "news", lambda self: news.pop(0) if news else ([], []))
    cell = bench.cell()
    assert (cell["status"], cell["reject_reason"]) == (record.GPU_RESET, "1 of 2: amdgpu: GPU reset begin!")
    stat(roots.proc / "9", 100)

    def kill(_document: object, _number: int) -> tuple[Script, str]:
        (roots.proc / "9/stat").unlink()
        return [], "reset"

    serve(kill)
    monkeypatch.setattr(host.KernelLog, "news", lambda self: ([], ["Out of memory: Killed process 9 (llama-server)"]))
    cell = bench.set(engine={"pid": 9}).cell(id="other")
    assert (cell["status"], "Killed process 9" in cell["reject_reason"]) == (record.OOM, True)


def test_uncorrectable_memory_errors(bench: Bench, serve: Serve, card: Path) -> None:
    ras = card / "ras/umc_err_count"
    ras.parent.mkdir()
    ras.write_text("ue: 0\nce: 5\n")

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        if number == 3:
            ras.write_text("ue: 1\nce: 6\n")
        return good(document, number)

    serve(answer)
    cell = bench.set(measure={"thermal": "off"}).cell()
    assert (cell["status"], "1 uncorrectable memory errors" in cell["reject_reason"]) == (record.GPU_RESET, True)
    assert "1 corrected memory errors during the cell" in cell["warnings"]


def test_two_cards_need_a_choice(bench: Bench, serve: Serve, card: Path, roots: host.Roots) -> None:
    serve(good)
    other = roots.sysfs / "bus/pci/devices/0000:43:00.0"
    put(other)
    for name in ("vendor", "device", "class", "revision"):
        (other / name).write_text((card / name).read_text())
    with pytest.raises(api.SettingsError, match=r"several gfx906 cards .*name one in `gpu`"):
        bench.cell()
    with pytest.raises(api.SettingsError, match="no AMD GPU at 0000:99"):
        bench.params["gpu"] = "0000:99:00.0"
        bench.cell()
