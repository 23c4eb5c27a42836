"""Figures are computed again from requests and raw streams; what does not fit what was stored is said."""

from __future__ import annotations

import copy
import gzip
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from mi50.bench import adapters, derive, figures, reading
from mi50.bench.sse import Event
from mi50.bench.stats import median_interval
from mi50.bench.store import Store

from benchreport.figures import totals
from benchreport.recompute import Streams, slope
from benchreport.records import Run, read
from benchreport.rows import Row, rows
from tests.unit.bench_report.made_up import MadeUp, fresh


def made(tmp_path: Path, edit: Any = None, **changes: Any) -> tuple[list[Row], list[str]]:
    path = MadeUp(tasks=["algebra"], **changes).write(tmp_path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if edit:
        edit(lines)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    records = read([tmp_path])
    return rows(records), records.problems


def test_medians_and_intervals_come_from_the_requests(tmp_path: Path) -> None:
    (row, _), problems = made(tmp_path)
    values = [request["derived"]["dc_srv"]["value"] for request in row.requests]
    figure = row.stats["dc_srv"]
    assert problems == []
    assert figure.median == statistics.median(values)
    assert (figure.low, figure.high) == (min(values), max(values)) == median_interval(values)[:2]  # type: ignore[index]
    assert (figure.formula, figure.unit, len(figure.values)) == ("DC_srv@1", "tok/s", 6)


def test_a_stored_median_that_the_requests_do_not_give(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[-1]["metrics"]["dc_srv"]["median"] *= 1.05

    (_, row), problems = made(tmp_path, tamper)
    assert len(problems) == 1
    assert "qwen3-30b.algebra.natural: dc_srv: stored median is" in problems[0]
    assert problems[0].endswith("the recomputed figures are shown")
    assert row.stats["dc_srv"].median != row.cell["metrics"]["dc_srv"]["median"]


def test_counts_that_do_not_fit(tmp_path: Path) -> None:
    def tamper(lines: list[dict[str, Any]]) -> None:
        lines[-1]["ok"] = 5

    assert "6 requests have status OK, the cell says 5" in made(tmp_path, tamper)[1][0]


def test_fewer_than_six_repetitions_have_no_interval(tmp_path: Path) -> None:
    (row, _), problems = made(tmp_path, reps=5)
    assert problems == []
    assert row.stats["dc_srv"].median is not None
    assert (row.stats["dc_srv"].low, row.stats["dc_srv"].high) == (None, None)


def test_a_repetition_that_failed_is_not_averaged(tmp_path: Path) -> None:
    def fail(lines: list[dict[str, Any]]) -> None:
        bad = lines[1]
        bad.update(status="TIMEOUT_STALL", reject_reason="no further token for 30 s")
        bad["derived"]["dc_srv"]["value"] = 9999.0
        lines[7]["metrics"].clear()
        lines[7].update(status="TIMEOUT_STALL", reject_reason="1 of 6: no further token for 30 s", ok=5)

    (row, _), problems = made(tmp_path, fail)
    assert problems == []
    assert len(row.stats["dc_srv"].values) == 5
    assert max(row.stats["dc_srv"].values) < 100
    assert not row.ok


def test_totals_are_ratios_of_sums_of_good_cells(tmp_path: Path) -> None:
    def slow_down(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if line["type"] == "request" and line["seq"] == 0:
                line["derived"]["dc_srv"]["value"] = 10.0

    found, _ = made(tmp_path, slow_down)
    total = totals(found)[0]
    rates = [request["derived"]["dc_srv"]["value"] for request in found[0].requests]
    assert total.decode == pytest.approx(statistics.harmonic_mean(rates))
    assert total.decode < statistics.fmean(rates) * 0.75
    assert (total.counted, total.cells) == (1, 1)


# --- raw streams --------------------------------------------------------------------------------------------


def stream() -> list[Event]:
    """A llama.cpp stream: 60 tokens, 20 ms apart, the first 510 ms after t0."""
    events = []
    for n in range(1, 61):
        timings = {"prompt_n": 200, "prompt_ms": 500.0, "cache_n": 0, "predicted_n": n, "predicted_ms": 20.0 * (n - 1)}
        chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": "x"}}], "timings": timings}
        if n == 60:
            chunk["choices"][0]["finish_reason"] = "stop"
            chunk["usage"] = {"prompt_tokens": 200, "completion_tokens": 60}
        events.append(Event(1_000_000_000 + 510_000_000 + 20_000_000 * (n - 1), "", json.dumps(chunk).encode()))
    return events


HEAD = {
    "adapter": "llama.cpp",
    "t0_ns": 1_000_000_000,
    "body_sent_ns": 1_000_500_000,
    "headers_ns": 1_010_000_000,
}


def recorded(folder: Path) -> tuple[dict[str, Any], Run]:
    """A request whose raw stream lies beside the run, as the node writes both."""
    adapter = adapters.adapter("llama.cpp")
    heard = reading.read(adapter, stream())
    with Store(folder, "run", "llama.cpp") as store:
        name = store.put_events("c-1-0", {**HEAD, "server": dict(heard.server)}, stream())
    own = figures.figures("llama.cpp", dict(heard.server))
    timing = derive.Timing(HEAD["t0_ns"], HEAD["body_sent_ns"], HEAD["headers_ns"])  # type: ignore[arg-type]
    request = copy.deepcopy(fresh("request"))
    request["derived"] = derive.derive(heard, timing, own, adapter.headers_mark_prefill)
    request["events_file"] = name
    return request, Run(folder / "run" / "llama.cpp.jsonl")


def test_a_raw_stream_gives_the_recorded_figures(tmp_path: Path) -> None:
    request, run = recorded(tmp_path)
    disagreements: list[str] = []
    found = Streams(run, disagreements).derived(request)
    assert disagreements == []
    assert found["pf_srv"]["value"] == pytest.approx(400.0)
    assert found["pf_hdr"]["value"] == pytest.approx(400.0)
    assert found["dc_cli"]["value"] == pytest.approx(50.0)


@pytest.mark.parametrize("name", ["dc_srv", "dc_cli", "pf_hdr", "ttft"])
def test_a_recorded_figure_that_the_stream_does_not_give(tmp_path: Path, name: str) -> None:
    request, run = recorded(tmp_path)
    true = request["derived"][name]["value"]
    request["derived"][name]["value"] = true * 1.01
    disagreements: list[str] = []
    found = Streams(run, disagreements).derived(request)
    assert found[name]["value"] == true
    assert len(disagreements) == 1
    assert f"request 0: {name} is recorded as {true * 1.01}" in disagreements[0]


def test_a_stream_that_is_not_there_or_broken(tmp_path: Path) -> None:
    request, run = recorded(tmp_path)
    path = run.path.parent / request["events_file"]
    path.write_bytes(gzip.compress(b"{}\nrubbish"))
    disagreements: list[str] = []
    streams = Streams(run, disagreements)
    assert streams.derived(request) == request["derived"]
    assert "request 0: its raw stream cannot be read" in disagreements[0]
    path.unlink()
    assert streams.derived(request) == request["derived"]
    assert streams.missing == [str(path)]


def test_missing_streams_are_told_once_a_run(tmp_path: Path) -> None:
    def name_streams(lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if line["type"] == "request":
                line["events_file"] = f"raw/llama.cpp/{line['seq']}.events.jsonl.gz"

    problems = made(tmp_path, name_streams)[1]
    assert len(problems) == 1
    assert "12 of 12 raw streams are not there; their recorded figures are shown" in problems[0]


def lengths(short: float, long: float) -> list[dict[str, Any]]:
    found = []
    for role, tokens, seconds in (("length_a", 512, short), ("length_b", 4096, long)):
        for index in range(6):
            request = fresh("request")
            request["rep"].update(role=role, index=index)
            request["tokens"].update(prompt_server=tokens, prompt_usage=tokens)
            request["t"].update(body_sent=0, first_token=int((seconds + index * 0.001) * 1e9))
            found.append(request)
    return found


def test_the_slope_is_computed_again() -> None:
    found = slope(lengths(1.1, 8.268))
    assert found["pf_slope"]["median"] == pytest.approx((4096 - 512) / 7.168)
    assert found["pf_overhead"]["median"] == pytest.approx(1.1025 - 512 / 500.0)
    assert found["pf_slope"]["low"] < 500 < found["pf_slope"]["high"]
    assert slope([request for request in lengths(1, 2) if request["rep"]["role"] == "length_a"]) == {}


def test_a_cell_that_is_not_ok_is_in_no_total(tmp_path: Path) -> None:
    """Its clocks disagree: there are figures, and they do not count."""
    found, _ = made(tmp_path, statuses={"qwen3-30b.algebra.fixed": ("DISAGREE", "0.9")})
    fixed, natural = totals(found)
    assert found[0].headline("decode") is not None
    assert (fixed.prefill, fixed.decode, fixed.counted, fixed.cells) == (None, None, 0, 1)
    assert (natural.counted, natural.cells) == (1, 1)
