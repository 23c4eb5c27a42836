"""A whole cell: its phases, controls, records, and what is left when it is killed."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mi50.bench import again, api, prompt, record

from .cellserver import PAGES, Serve, engine, words
from .conftest import TASK, Bench
from .virtual import DONE, MS, OK, Script, chunk, llamacpp, plain, usage


@pytest.fixture
def schema(repo_root: Path) -> Callable[[dict[str, Any]], None]:
    document = json.loads((repo_root / "module_utils/mi50/bench/schema.json").read_text())

    def check(row: dict[str, Any]) -> None:
        one = {**document, "oneOf": [{"$ref": f"#/$defs/{row['type']}"}]}
        jsonschema.validate(row, one, cls=jsonschema.Draft202012Validator)

    return check


def test_a_good_cell(serve: Serve, bench: Bench, schema: Callable[[dict[str, Any]], None]) -> None:
    server = serve(engine, pages=dict(PAGES))
    cell = bench.set(measure={"controls": True}).cell(checks=[], mode="fixed", prompt="say " * 60)
    assert (cell["status"], cell["ok"], cell["measured"]) == (record.OK, 6, 6), cell["reject_reason"]
    assert cell["headline"]["prefill"]["median"] == pytest.approx(1000)
    assert cell["headline"]["decode"]["median"] == pytest.approx(100)
    assert (cell["headline"]["decode"]["low"], cell["headline"]["decode"]["high"]) == (pytest.approx(100),) * 2
    assert cell["metrics"]["dc_srv"]["coverage"] == pytest.approx(0.96875)
    assert cell["totals"]["decode_tokens"] == 6 * 47
    assert cell["totals"]["decode_seconds"] == pytest.approx(6 * 0.47)
    control = cell["controls"]
    assert (control["cache"]["expected"], control["cache"]["seen"], control["cache"]["ok"]) == ("hit", "hit", True)
    assert (control["coherence"]["ok"], control["template"]["ok"]) == (True, True)
    assert cell["tokens"]["cached_max"] == 0
    roles = [row["rep"]["role"] for row in bench.rows()]
    assert roles == ["coherence", "warmup", *["measured"] * 6, "repeat"]
    assert all(document["cache_prompt"] is False for document in server.asked[:-1])
    nonces = [row["rep"]["nonce"] for row in bench.rows()]
    assert len(set(nonces[:-1])) == 8  # each its own, the warm-up's too
    assert nonces[-1] == nonces[-2]
    for row in bench.store().records:
        schema(row)
    assert again.differences(bench.store().path) == (9 * 17, [])


def test_every_column_carries_its_formula(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    cell = bench.cell()
    for name, item in cell["metrics"].items():
        assert "@" in item["formula"], name
    assert cell["headline"]["decode"]["formula"] == "DC_srv@1"


def test_cache_that_the_recipe_does_not_switch_off(serve: Serve, bench: Bench) -> None:
    def cached(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return engine({**document, "cache_prompt": True}, number)

    serve(cached, pages=dict(PAGES))
    cell = bench.cell()
    assert (cell["status"], cell["headline"]["prefill"]["median"]) == (record.CACHED, None)
    assert cell["headline"]["decode"]["median"] == pytest.approx(100)


def test_a_repeat_that_is_not_seen_as_cached(serve: Serve, bench: Bench) -> None:
    def blind(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return engine({**document, "cache_prompt": False}, number)

    serve(blind, pages=dict(PAGES))
    cell = bench.set(measure={"controls": True}).cell()
    assert cell["controls"]["cache"]["ok"] is False
    assert any("the cache control failed, hit was expected" in note for note in cell["warnings"])


def test_an_engine_that_tells_nothing_is_judged_by_time(serve: Serve, bench: Bench) -> None:
    def plain_openai(document: dict[str, Any], number: int) -> tuple[Script, str]:
        wait = 10 if number == 8 else 100
        body = [(10 * MS, chunk({"content": "Paris "})) for _token in range(document["max_tokens"])]
        end = chunk({}, "length") + usage(40, document["max_tokens"]) + DONE
        return [(1 * MS, OK), (wait * MS, chunk({"role": "assistant"})), *body, (0, end)], "close"

    serve(plain_openai)
    cell = bench.set(engine={"kind": "openai"}, measure={"controls": True}).cell()
    assert (cell["status"], cell["controls"]["cache"]["seen"]) == (record.OK, "faster")
    assert cell["controls"]["cache"]["ok"] is None
    assert cell["headline"]["decode"]["formula"] == "DC_cli@1"
    assert any("does not tell how many prompt tokens came from its cache" in note for note in cell["warnings"])


def test_more_repeats_while_the_interval_is_wide(serve: Serve, bench: Bench) -> None:
    def uneven(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return llamacpp(40, document["max_tokens"], 100, 10 + number % 3 * 4), "close"

    serve(uneven)
    cell = bench.cell()
    assert (cell["status"], cell["measured"]) == (record.OK, 12)


def test_slope_by_hand(serve: Serve, bench: Bench) -> None:
    """1 ms a token and 3 ms of headers: the slope is 1,000 tokens/s, the overhead 3 ms, whatever the template adds."""
    serve(engine, pages=dict(PAGES))
    cell = bench.cell(id="slope", probe="slope", lengths=[200, 1000], prompt="say")
    found = cell["metrics"]
    assert cell["status"] == record.OK, cell["reject_reason"]
    assert found["pf_slope"]["median"] == pytest.approx(1000, rel=1e-6)
    assert found["pf_overhead"]["median"] == pytest.approx(0.003, rel=1e-3)
    assert (found["pf_slope"]["low"], found["pf_slope"]["high"]) == (pytest.approx(1000, rel=1e-3),) * 2
    assert cell["measured"] == 12


def test_a_server_whose_prefill_is_not_the_slope(serve: Serve, bench: Bench) -> None:
    def lying(document: dict[str, Any], _number: int) -> tuple[Script, str]:
        script = llamacpp(words(document), document["max_tokens"], words(document) // 2, 10)
        return [script[0], (script[1][0] * 2, script[1][1]), *script[2:]], "close"

    serve(lying, pages=dict(PAGES))
    cell = bench.cell(id="slope", probe="slope", lengths=[200, 1000], prompt="say")
    assert (cell["status"], "by the server over the same lengths" in cell["reject_reason"]) == (record.DISAGREE, True)


def test_depth_is_filled_by_the_servers_tokens(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    cell = bench.cell(id="depth", probe="depth", context=2000)
    assert cell["cell_id"] == "tiny.depth.fixed.d2000"
    assert cell["tokens"]["prompt"] == pytest.approx(2000, abs=10)


def test_depth_without_a_tokenizer_is_calibrated(serve: Serve, bench: Bench) -> None:
    serve(engine)  # no /tokenize: two short requests tell the tokens a word
    cell = bench.cell(id="depth", probe="depth", context=2000)
    assert cell["tokens"]["prompt"] == pytest.approx(2000, abs=40)


def png(width: int = 64, height: int = 4) -> bytes:
    rows = b"".join(b"\0" + bytes(range(width * 3)) for _row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        prompt._chunk(name, body) for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def test_images(serve: Serve, bench: Bench, tmp_path: Path) -> None:
    """256 tokens an image at 1 ms, and 50 ms of encoder: T_img is the encoder's share."""
    path = tmp_path / "a.png"
    path.write_bytes(png())

    def answer(document: dict[str, Any], _number: int) -> tuple[Script, str]:
        content = document["messages"][0]["content"]
        if isinstance(content, str):
            return engine(document, 0)
        texts = sum(len(part["text"].split()) for part in content if part["type"] == "text")
        script = llamacpp(texts + 256, document["max_tokens"], texts + 256 + 50, 10)
        return script, "close"

    server = serve(answer, pages=dict(PAGES))
    bench.cell(id="slope", probe="slope", lengths=[200, 1000], prompt="say")
    before = len(server.asked)
    cell = bench.cell(id="see", kind="image", images=[{"path": str(path)}])
    assert cell["status"] == record.OK, cell["reject_reason"]
    assert cell["tokens"]["image"] == 256
    assert cell["metrics"]["t_img"]["median"] == pytest.approx(0.050, abs=1e-6)
    assert cell["task"]["image_px"] == [[64, 4]]
    urls = [d["messages"][0]["content"][1]["image_url"]["url"] for d in server.asked[before:-1]]
    assert len(set(urls)) == len(urls)  # no two requests send the same pixels


def test_varied_png_differs_in_its_last_pixels_only() -> None:
    first, second = (prompt.vary_png(png(), nonce) for nonce in ("000000000005", "000000000006"))
    rows = [zlib.decompress(dict(prompt._chunks(data))[b"IDAT"]) for data in (png(), first, second)]
    assert len({*rows}) == 3
    assert all(row[:-40] == rows[0][:-40] for row in rows)
    assert prompt.vary_png(b"\xff\xd8jpeg", "5") == b"\xff\xd8jpeg"


def test_wrong_image(serve: Serve, bench: Bench, tmp_path: Path) -> None:
    serve(engine)
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with pytest.raises(api.SettingsError, match="the suite says 00"):
        bench.cell(kind="image", images=[{"path": str(path), "sha256": "00"}])
    with pytest.raises(api.SettingsError, match="No such file"):
        bench.cell(kind="image", images=[{"path": str(tmp_path / "none.png")}])


def test_answers_are_checked(serve: Serve, bench: Bench) -> None:
    def answer(_document: dict[str, Any], number: int) -> tuple[Script, str]:
        text = "x = 5" if number % 2 else "x = 6"
        return llamacpp(40, 40, 100, 10, finish="stop", text=text + " "), "close"

    serve(answer)
    check = {"id": "value", "kind": "number", "value": 5}
    cell = bench.cell(mode="natural", checks=[check], max_tokens=100)
    assert (cell["status"], cell["checks"]["passed"], cell["checks"]["total"]) == (record.OK, 3, 6)
    with pytest.raises(api.SettingsError, match="kind"):
        bench.cell(id="b", checks=[{"id": "a", "kind": "no such kind"}])


def test_vllm_by_its_counters(serve: Serve, bench: Bench) -> None:
    """The server counts a request a moment after its last byte: the first scrape behind it is too early."""
    counters = {"n": 0, "prompt": 0, "done": 0}
    late: list[dict[str, int]] = []

    def metrics(_document: object) -> Script:
        if late and late[0].pop("early", None) is None:
            counters.update(late.pop())
        n = counters["n"]
        text = (
            f'vllm:request_prefill_time_seconds_sum{{engine="0"}} {n * 0.1}\n'
            f"vllm:request_prefill_time_seconds_count {n}\n"
            f"vllm:request_decode_time_seconds_sum {n * 0.47}\nvllm:prompt_tokens_total {counters['prompt']}\n"
            f"vllm:generation_tokens_total {counters['done']}\nvllm:prefix_cache_hits_total 0\n# HELP x y\nbad line\n"
            'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0\n'
        )
        return plain(200, text.encode())

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        assert document["stream_options"]["continuous_usage_stats"]
        assert document["cache_salt"] == document["messages"][0]["content"][1:13]
        more = {"n": counters["n"] + 1, "prompt": counters["prompt"] + 40, "done": counters["done"] + 48}
        late.append({**more, "early": 1})
        script: Script = [(1 * MS, OK), (100 * MS, chunk({"role": "assistant"}))]
        for count in range(1, 49):
            more = {"prompt_tokens": 40, "completion_tokens": count}
            script.append(((0 if count == 1 else 10) * MS, chunk({"content": "a"}, usage=more)))
        return [*script, (0, chunk({}, "length") + usage(40, 48) + DONE)], "close"

    serve(answer, pages={"/metrics": metrics, "/version": {"version": "0.11"}})
    cell = bench.set(engine={"kind": "vllm"}).cell()
    assert cell["status"] == record.OK, cell["reject_reason"]
    assert cell["headline"]["prefill"]["median"] == pytest.approx(400)
    assert cell["headline"]["decode"]["median"] == pytest.approx(100)
    assert cell["metrics"]["dc_srv"]["source"] == "metrics_delta"
    assert bench.rows("run")[0]["framework"]["version"] == "0.11"


def test_a_system_message_carries_the_nonce(serve: Serve, bench: Bench) -> None:
    def answer(document: dict[str, Any], _number: int) -> tuple[Script, str]:
        return llamacpp(40, document["max_tokens"], 100, 10), "close"

    server = serve(answer)
    assert bench.cell(system="Be brief.")["status"] == record.OK
    nonces = [row["rep"]["nonce"] for row in bench.rows()]
    assert [document["messages"] for document in server.asked] == [
        [{"role": "system", "content": f"[{nonce}]\n\nBe brief."}, {"role": "user", "content": TASK["prompt"]}]
        for nonce in nonces
    ]


def test_a_probe_needs_no_prompt(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    assert bench.cell(id="depth", probe="depth", prompt="", context=500, system="")["status"] == record.OK


def test_failures_do_not_call_for_more_of_them(serve: Serve, bench: Bench) -> None:
    def uneven(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return llamacpp(40, document["max_tokens"], 100, 10 + number % 3 * 4, cached=20), "close"

    serve(uneven)
    cell = bench.cell()
    assert (cell["status"], cell["measured"]) == (record.CACHED, 6)
