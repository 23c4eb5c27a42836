"""Every metric of a stream with known times equals what is computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.bench import derive, figures, gates, reading
from mi50.bench.adapters import adapter
from mi50.bench.formulas import FORMULAS
from mi50.bench.record import metric
from mi50.bench.sse import COMMENT, Event

from .virtual import MS, chunk, timings, usage

T0, BODY, HEADERS = 0, 1 * MS, 4 * MS


def events(*rows: tuple[float, bytes]) -> list[Event]:
    """Events out of (milliseconds, SSE bytes): all of one row arrived together."""
    found = []
    for at, data in rows:
        for part in data.split(b"\n\n"):
            if part.startswith(b"data: "):
                found.append(Event(round(at * MS), "", part[6:]))
            elif part.startswith(b": "):
                found.append(Event(round(at * MS), COMMENT, part[2:]))
    return found


def measured(kind: str, rows: list[Event], raw: dict[str, Any] | None = None) -> tuple[reading.Reading, dict[str, Any]]:
    made = adapter(kind)
    heard = reading.read(made, rows)
    own = figures.figures(kind, raw if raw is not None else heard.server)
    found = derive.derive(heard, derive.Timing(T0, BODY, HEADERS), own, made.headers_mark_prefill)
    return heard, found


def values(found: dict[str, Any]) -> dict[str, float]:
    return {name: item["value"] for name, item in found.items() if item["value"] is not None}


def llama_rows(n: int = 41, cached: int = 0) -> list[Event]:
    """A prompt of 100 tokens: headers at 4 ms, first token at 204 ms, then one every 10 ms; server: 199 ms, 400 ms."""
    rows = [(204, chunk({"role": "assistant", "content": None})
             + chunk({"content": "a"}, timings=timings(100, cached, 199.0, 1, 0.001)))]  # fmt: skip
    for done in range(2, n + 1):
        more = timings(100, cached, 199.0, done, (done - 1) * 10.0)
        rows.append((204 + (done - 1) * 10, chunk({"content": "a"}, timings=more)))
    end = 204 + (n - 1) * 10
    rows.append((end, chunk({}, "length") + usage(100, n, timings=timings(100, cached, 199.0, n, (n - 1) * 10.0))))
    return events(*rows)


def test_llamacpp_by_hand() -> None:
    heard, found = measured("llama.cpp", llama_rows())
    assert values(found) == pytest.approx(
        {
            "pf_srv": 100 / 0.199,
            "pf_cli": 100 / 0.203,
            "pf_hdr": 100 / 0.200,
            "burst": 0.0,
            "dc_cli": 40 / 0.400,
            "dc_srv": 40 / 0.400,
            "ttft": 0.204,
            "ttfo": 0.204,
            "e2e": 0.604,
            "out_e2e": 41 / 0.604,
            "a_dec": 1.0,
            "a_pf": 0.199 / 0.203,
            "a_hdr": 0.199 / 0.200,
            "a_tok": 1.0,
        },
        rel=1e-12,
    )
    assert (heard.t1_rule, heard.k1, heard.k1_source, heard.finish) == ("cumulative", 1, "counted", "length")
    assert found["dc_w"]["reason"] == "no 65 tokens"
    assert all(item["reason"] for item in found.values() if item["value"] is None)


def test_every_metric_has_a_formula() -> None:
    _heard, found = measured("llama.cpp", llama_rows())
    for name, item in found.items():
        assert item["formula"] == FORMULAS[name].id
        assert item["unit"] == FORMULAS[name].unit
    with pytest.raises(KeyError):
        metric("made_up", 1.0, "x")


def test_window_is_tokens_33_to_288() -> None:
    _heard, found = measured("llama.cpp", llama_rows(400))
    assert found["dc_w"]["value"] == pytest.approx((288 - 33) / 2.55)


def test_cached_tokens_are_no_prefill() -> None:
    _heard, found = measured("llama.cpp", llama_rows(cached=90))
    assert found["pf_srv"]["value"] is None
    assert found["pf_cli"]["reason"] == "90 of 100 prompt tokens came from a cache"
    assert found["dc_srv"]["value"] == pytest.approx(100.0)


def test_merged_chunks_count_their_tokens() -> None:
    """Four tokens an event: 100 tokens/s, not the 25 that counting events gives."""
    rows = [(100, chunk({"content": "abcd"}, usage={"completion_tokens": 4, "prompt_tokens": 9}))]
    for step in range(1, 12):
        count = {"completion_tokens": 4 + 4 * step, "prompt_tokens": 9}
        rows.append((100 + 40 * step, chunk({"content": "abcd"}, usage=count)))
    heard, found = measured("vllm", events(*rows, (541, chunk({}, "stop") + usage(9, 48))), {})
    assert heard.k1 == 4
    assert found["dc_cli"]["value"] == pytest.approx(44 / 0.44)


def test_events_of_one_arrival_are_one() -> None:
    """Three events in the first piece: their tokens were there by t1 and do not count as decoded after it."""
    rows = [(100, b"".join(chunk({"content": "a"}) for _ in range(3)))]
    rows += [(100 + 10 * step, chunk({"content": "a"})) for step in range(1, 38)]
    heard, found = measured("openai", events(*rows, (471, chunk({}, "length") + usage(9, 40))))
    assert heard.k1 == 3
    assert found["dc_cli"]["value"] == pytest.approx(37 / 0.37)


def test_role_chunk_is_no_token_but_on_vllm() -> None:
    """The role chunk comes at 10 ms. Only vLLM's engine sends it with its first output."""
    body = [(100 + 10 * step, chunk({"content": "a"})) for step in range(40)]
    rows = events((10, chunk({"role": "assistant", "content": ""})), *body, (491, chunk({}, "length") + usage(9, 40)))
    heard, found = measured("openai", rows)
    assert (heard.t1_ns, heard.t1_rule, heard.first_any_ns) == (100 * MS, "text", 10 * MS)
    assert found["ttft"]["value"] == pytest.approx(0.100)
    heard, found = measured("vllm", rows, {})
    assert (heard.t1_ns, heard.t1_rule, heard.decode_start_ns) == (10 * MS, "role", 100 * MS)
    assert found["ttft"]["value"] == pytest.approx(0.010)
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)


def test_empty_deltas_carry_tokens() -> None:
    """Half of a character has no text: the first token is the first count and not the first content."""
    rows = [(100, chunk({"content": ""}, timings=timings(50, 0, 96.0, 1, 0.001)))]
    for done in range(2, 41):
        text = "中" if done % 2 == 0 else ""
        rows.append(
            (100 + 10 * (done - 1), chunk({"content": text}, timings=timings(50, 0, 96.0, done, 10.0 * (done - 1))))
        )
    tail = chunk({}, "length") + usage(50, 40, timings=timings(50, 0, 96.0, 40, 390.0))
    heard, found = measured("llama.cpp", events(*rows, (490, tail)))
    assert heard.t1_ns == 100 * MS
    assert found["ttfo"]["value"] == pytest.approx(0.110)
    assert found["ttft"]["value"] == pytest.approx(0.100)
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)


def test_silent_tokens_are_counted_at_the_next_event() -> None:
    """No event at all for two tokens: the first event shows three, so that the header clock is not usable."""
    rows = [(120, chunk({"content": "中"}, timings=timings(50, 0, 96.0, 3, 20.0)))]
    rows += [
        (120 + 10 * s, chunk({"content": "a"}, timings=timings(50, 0, 96.0, 3 + s, 20.0 + 10 * s)))
        for s in range(1, 38)
    ]
    tail = chunk({}, "length") + usage(50, 40, timings=timings(50, 0, 96.0, 40, 390.0))
    heard, found = measured("llama.cpp", events(*rows, (490, tail)))
    assert heard.k1 == 3
    assert found["pf_hdr"]["reason"] == "the first token event carried 3 tokens"
    assert found["dc_cli"]["value"] == pytest.approx(37 / 0.37)


def test_end_of_sequence_counts_at_the_finish_chunk() -> None:
    """n includes the end of sequence, which has no text: the window ends with the finish, not with the usage chunk."""
    rows = [
        (100 + 10 * s, chunk({"content": "a"}, timings=timings(9, 0, 95.0, 1 + s, 10.0 * s + 0.001))) for s in range(39)
    ]
    finish = (490, chunk({}, "stop"))
    late = (800, usage(9, 40, timings=timings(9, 0, 95.0, 40, 390.0)))
    heard, found = measured("llama.cpp", events(*rows, finish, late))
    assert heard.last_token_ns == 490 * MS
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)
    plain = [(100 + 10 * s, chunk({"content": "a"})) for s in range(39)]
    heard, found = measured("openai", events(*plain, finish, (800, usage(9, 40))))
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_under_each_name(name: str) -> None:
    rows = [(100 + 10 * s, chunk({name: "t"})) for s in range(20)]
    rows += [(300 + 10 * s, chunk({"content": "c"})) for s in range(20)]
    detail = {"completion_tokens_details": {"reasoning_tokens": 20}}
    last = chunk({}, "stop", usage={"prompt_tokens": 9, "completion_tokens": 40, **detail})
    heard, found = measured("openai", events(*rows, (490, last)))
    assert (heard.reasoning, heard.text) == ("t" * 20, "c" * 20)
    assert found["ttft"]["value"] == pytest.approx(0.100)
    assert found["ttfo"]["value"] == pytest.approx(0.300)
    assert found["thinking"]["value"] == pytest.approx(0.200)
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)  # thinking is part of n, never added to it


def test_thinking_under_two_names_at_once_is_read_once() -> None:
    heard, _found = measured("vllm", events((1, chunk({"reasoning": "t", "reasoning_content": "t"}))), {})
    assert heard.reasoning == "t"


def test_pings_and_progress_are_nothing() -> None:
    rows = events((5, b": ping\n\n"), (20, chunk({"role": "assistant"}, prompt_progress={"total": 9})), (30, b": \n\n"))
    heard, _found = measured("llama.cpp", rows)
    assert (heard.t1_ns, heard.marks, heard.error) == (None, [], None)
    assert heard.first_any_ns == 20 * MS


def test_a_burst_is_no_clock() -> None:
    """A starved server sends all at once after 4 s: 40 tokens within 2 ms are not 20,000 tokens/s."""
    rows = [
        (4000 + s * 0.05, chunk({"content": "a"}, usage={"completion_tokens": s + 1, "prompt_tokens": 9}))
        for s in range(40)
    ]
    raw = {"requests": 1.0, "prefill_s": 0.1, "decode_s": 3.9, "completion_tokens": 40.0, "prompt_tokens": 9.0}
    _heard, found = measured("vllm", events(*rows, (4003, chunk({}, "stop") + usage(9, 40))), raw)
    assert found["burst"]["value"] == 1.0
    assert found["dc_cli"]["value"] is None
    assert "bursty" in found["dc_cli"]["reason"]
    assert found["dc_srv"]["value"] == pytest.approx(10.0)
    assert found["a_dec"]["value"] is None


def test_a_burst_without_server_figures_is_impossible() -> None:
    """Nothing tells the interval then; but decoding is never ten times as fast as prefill."""
    rows = [(4000 + s * 0.05, chunk({"content": "a"})) for s in range(40)]
    heard, found = measured("openai", events(*rows, (4003, chunk({}, "stop") + usage(90, 40))))
    own = figures.Figures()
    status, reason = gates.plausible(found, own, derive.counts(heard, own), 4.0) or ("", "")
    assert status == "IMPLAUSIBLE"
    assert "more than ten times" in reason


def test_few_tokens_have_no_rate() -> None:
    _heard, found = measured("llama.cpp", llama_rows(20))
    assert found["dc_cli"]["reason"] == "19 tokens after the first, fewer than 32"
    assert found["dc_srv"]["value"] is None


def test_server_rate_of_one_token_is_none() -> None:
    """llama.cpp's own rate was 1,000,000 tokens/s there."""
    _heard, found = measured("llama.cpp", llama_rows(1))
    assert found["dc_srv"]["value"] is None
