"""The engines' own forms of a stream, and the roofline, against values computed by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mi50.bench import derive, figures, gates, roofline
from mi50.bench.record import metric
from mi50.bench.sse import Event

from .test_metrics import events, measured
from .virtual import MS, chunk, usage


def test_vllm_parser_that_swallows_the_first_tokens() -> None:
    """Role chunk with the first token; the next event shows five: prefill ends at the role chunk, decoding is 95."""
    rows = [(50, chunk({"role": "assistant"}, usage={"completion_tokens": 0, "prompt_tokens": 100}))]
    rows += [
        (90 + 10 * step, chunk({"reasoning": "a"}, usage={"completion_tokens": 5 + step, "prompt_tokens": 100}))
        for step in range(96)
    ]
    raw = {"requests": 1.0, "prefill_s": 0.045, "decode_s": 0.99, "prompt_tokens": 100.0, "completion_tokens": 100.0}
    heard, found = measured("vllm", events(*rows, (1040, chunk({}, "stop") + usage(100, 100))), raw)
    assert (heard.k1, heard.t1_ns) == (5, 50 * MS)
    assert found["pf_cli"]["value"] == pytest.approx(100 / 0.049)
    assert found["pf_srv"]["value"] == pytest.approx(100 / 0.045)
    assert found["dc_cli"]["value"] == pytest.approx(95 / 0.95)
    assert found["dc_srv"]["value"] == pytest.approx(99 / 0.99)
    assert found["pf_hdr"]["reason"] == "this engine's headers do not mark the start of prefill"


def test_lmdeploy_counts_ids() -> None:
    rows = [(100, chunk({"role": "assistant", "content": ""}))]
    for step in range(20):
        body = {"choices": [{"index": 0, "delta": {"content": "" if step % 2 else "ab"}, "output_ids": [1, 2]}]}
        rows.append((100 + 20 * step, b"data: " + json.dumps(body).encode() + b"\n\n"))
    heard, found = measured("lmdeploy", events(*rows, (481, chunk({}, "length") + usage(9, 40))), {})
    assert (heard.k1, heard.k1_source, heard.marks[-1].count) == (2, "counted", 40)
    assert found["dc_cli"]["value"] == pytest.approx(38 / 0.38)


@pytest.mark.parametrize(
    "data",
    [b'data: {"error":{"message":"kaputt"}}\n\n', b'data: {"object":"error","message":"kaputt"}\n\n',
     b'data: {"error":"kaputt"}\n\n'],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "lmstudio", "ollama", "openai"])
def test_an_error_inside_is_found(kind: str, data: bytes) -> None:
    heard, _found = measured(kind, events((5, chunk({"content": "a"})), (9, data)), {})
    assert heard.error == "kaputt"


def test_lmstudio_v1() -> None:
    rows = [Event(2 * MS, "chat.start", b"{}"), Event(10 * MS, "prompt_processing.start", b"{}"),
            Event(110 * MS, "prompt_processing.end", b"{}"), Event(111 * MS, "message.start", b"{}")]  # fmt: skip
    rows += [Event((112 + 10 * s) * MS, "message.delta", b'{"content":"a"}') for s in range(40)]
    stats = b'{"result":{"stats":{"input_tokens":50,"total_output_tokens":40,"tokens_per_second":99.5}}}'
    heard, found = measured("lmstudio", [*rows, Event(505 * MS, "chat.end", stats)])
    assert found["pf_srv"]["value"] == pytest.approx(50 / 0.100)
    assert found["pf_srv"]["source"] == "v1 events"
    assert found["dc_srv"]["value"] is None
    assert found["dc_vendor"]["value"] == 99.5
    assert found["dc_cli"]["value"] == pytest.approx(39 / 0.39)
    assert heard.finish == "end"


def test_ollama() -> None:
    rows = [Event((100 + 10 * s) * MS, "", b'{"message":{"content":"a"},"done":false}') for s in range(40)]
    last = (b'{"message":{"content":""},"done":true,"done_reason":"length","prompt_eval_count":50,"eval_count":40,'
            b'"prompt_eval_duration":95000000,"eval_duration":390000000}')  # fmt: skip
    _heard, found = measured("ollama", [*rows, Event(491 * MS, "", last)])
    assert found["pf_srv"]["value"] == pytest.approx(50 / 0.095)
    assert found["dc_srv"]["value"] == pytest.approx(39 / 0.39)


def test_several_requests_in_flight_have_no_server_seconds() -> None:
    raw = {"requests": 2.0, "prefill_s": 0.2, "decode_s": 1.0, "completion_tokens": 80.0, "prompt_tokens": 18.0}
    own = figures.figures("vllm", raw)
    assert (own.prefill_s, own.decode_s) == (None, None)


def test_roofline_by_hand() -> None:
    """Gemma 3 27B of the field notes: 17.2 GB a token at depth 0, 28.37 GB at 128k; 59.5 and 36.1 tokens/s."""
    shape = {"layers_global": 10, "layers_local": 52, "heads": 32, "head_dim": 128, "window": 1024}
    model = roofline.Model(17.2e9, 27e9, kv_bytes_token=81920, kv_bytes_token_local=425984, tflops=26.5, **shape)
    assert model.decode_max(0) == pytest.approx(59.5, abs=0.05)
    assert model.decode_max(131072) == pytest.approx(36.1, abs=0.05)
    assert model.prefill_max(0) == pytest.approx(491, abs=0.5)
    found = {"dc_srv": metric("dc_srv", 70.0, "x"), "pf_srv": metric("pf_srv", 100.0, "x")}
    tokens = derive.Counts(0, 0, 0, 0, 0, None)
    gates.roofline_shares(found, model, tokens, 0)
    assert found["eta_dec"]["value"] == pytest.approx(70 / (1024 / 17.2))


@pytest.mark.parametrize("bad", [{"active_bytes": 1}, {"active_bytes": "x", "active_params": 1}, {"what": 1},
                                 {"active_bytes": -1, "active_params": 1}])  # fmt: skip
def test_bad_roofline(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"model\.roofline"):
        roofline.Model.parse(bad)
