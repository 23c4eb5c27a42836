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
from mi50.bench import again, api, prompt, record, stats
from mi50.bench.settings import Call, Measure, Task
from mi50.bench.store import Store, turn

from .conftest import PROPS, TASK, Bench
from .virtual import DONE, MS, OK, Script, Server, chunk, llamacpp, plain, usage

Serve = Callable[..., Server]


def words(document: dict[str, Any]) -> int:
    return len(document["messages"][0]["content"].split())


def engine(document: dict[str, Any], _number: int) -> tuple[Script, str]:
    """llama-server with a prompt cache: a token a word, 1 ms a token of prefill, 10 ms a token of decode."""
    count, cached = words(document), 0
    prefill = count
    if document["cache_prompt"]:
        cached, prefill = count - 1, 1
    made = llamacpp(count, document["max_tokens"], prefill, 10, cached=cached, text="Paris ")
    return made, "close"


PAGES = {
    "/props": PROPS,
    "/apply-template": lambda document: {"prompt": document["messages"][0]["content"]},
    "/tokenize": lambda document: {"tokens": document["content"].split()},
}


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


def test_finished_cells_are_not_measured_again(serve: Serve, bench: Bench) -> None:
    server = serve(engine, pages=dict(PAGES))
    first = bench.cell()
    count = len(server.asked)
    assert bench.cell() == first
    assert len(server.asked) == count
    bench.cell(max_tokens=40)  # another task under the same name is another measurement
    assert len(server.asked) > count
    assert bench.rows("cell")[-1]["attempt"] == 2


def test_a_cut_line_is_taken_off_and_the_half_cell_begins_again(serve: Serve, bench: Bench) -> None:
    server = serve(engine, pages=dict(PAGES))
    bench.cell(id="first")
    whole = bench.store().path.read_bytes()
    bench.cell(id="second")
    lines = bench.store().path.read_bytes()[len(whole) :].split(b"\n")
    bench.store().path.write_bytes(whole + b"\n".join(lines[:3]) + b"\n" + lines[3][:50])  # killed while writing
    second = bench.cell(id="second")
    assert any("the last line was cut by a kill" in note for note in second["warnings"])
    count = len(server.asked)
    bench.cell(id="first")
    assert len(server.asked) == count
    assert (second["status"], second["attempt"]) == (record.OK, 2)
    assert [row["cell_id"] for row in bench.store().cells()] == ["tiny.first.fixed", "tiny.second.fixed"]
    mine = [row for row in bench.rows() if row["cell_id"] == "tiny.second.fixed"]
    assert {row["attempt"] for row in mine} == {1, 2}


def test_a_broken_file_is_refused(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.cell()
    path = bench.store().path
    path.write_bytes(b"not json\n" + path.read_bytes())
    with pytest.raises(api.SettingsError, match="line 1 is no JSON"):
        bench.cell(id="next")


def test_two_writers_are_refused(tmp_path: Path, bench: Bench, serve: Serve) -> None:
    serve(engine)
    with Store(bench.directory, "t1", "llama.cpp"), pytest.raises(api.SettingsError, match="already going on"):
        bench.cell()


def test_the_key_is_nowhere(serve: Serve, bench: Bench, tmp_path: Path) -> None:
    server = serve(engine, pages=dict(PAGES))
    key = tmp_path / "key"
    key.write_text("sk-very-secret-1\n")
    key.chmod(0o600)
    cell = bench.set(engine={"api_key_file": str(key)}).cell()
    assert cell["status"] == record.OK
    assert all(b"Authorization: Bearer sk-very-secret-1" in head for head in server.heads)
    for path in bench.directory.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".gz":
            data = zlib.decompress(data, 31)
        assert b"very-secret" not in data, path
    assert "very-secret" not in repr(Call({}, {"kind": "openai", **bench.params["engine"]}).endpoint())


@pytest.mark.parametrize(("mode", "text", "reason"), [(0o644, "k", "chmod 0600"), (0o600, "", "one key"),
                                                      (0o600, "a b", "one key")])  # fmt: skip
def test_bad_key_files(bench: Bench, tmp_path: Path, mode: int, text: str, reason: str) -> None:
    key = tmp_path / "key"
    key.write_text(text)
    key.chmod(mode)
    with pytest.raises(api.SettingsError, match=reason):
        bench.set(engine={"api_key_file": str(key)}).cell()
    with pytest.raises(api.SettingsError, match="cannot be read"):
        bench.set(engine={"api_key_file": str(tmp_path / "none")}).cell()


def test_progress(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.set(run={"index": 3, "of": 8}, measure={"controls": True}).cell()
    state = json.loads((bench.directory / "t1/progress.json").read_text())
    assert (state["phase"], state["index"], state["of"], state["message"]) == ("done", 3, 8, "OK")
    phases = list(dict.fromkeys(step["phase"] for step in bench.steps))
    assert phases == ["coherence", "warmup", "measure", "repeat", "done"]


def test_plan_sends_and_writes_nothing(serve: Serve, bench: Bench) -> None:
    server = serve(engine)
    params = {**bench.params, "task": TASK}
    plan = api.measure(params, bench.roots, bench.steps.append, check=True)["plan"]
    assert (plan["cell_id"], plan["finished"], plan["requests"]) == ("tiny.say.fixed", False, 7)
    assert (server.connections, bench.directory.exists()) == (0, False)
    bench.cell()
    assert api.measure(params, bench.roots, bench.steps.append, check=True)["plan"]["finished"]


def test_summary_lists_cells_and_files(serve: Serve, bench: Bench) -> None:
    serve(engine, pages=dict(PAGES))
    bench.cell()
    found = api.summary(bench.params)
    assert [(row["cell_id"], row["status"], row["ok"]) for row in found["cells"]] == [("tiny.say.fixed", "OK", 6)]
    assert len(found["files"]) == 1 + 2 * 7  # the records; stream and answer of each request
    assert all((bench.directory / "t1" / name).exists() for name in found["files"])


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


@pytest.mark.parametrize(
    ("group", "values", "reason"),
    [
        ("task", {"what": 1}, "task.what is unknown"),
        ("task", {"kind": "sound"}, "one of text, image"),
        ("task", {"max_tokens": "many"}, "no whole number"),
        ("task", {"kind": "image"}, "there are no images"),
        ("task", {"probe": "slope", "lengths": [5]}, "two lengths"),
        ("task", {"prompt": " "}, "task.prompt is missing"),
        ("measure", {"repeats": 0}, "must be 1 or more"),
        ("measure", {"thermal": "hot"}, "warm, idle, off"),
        ("measure", {"controls": "maybe"}, "no bool"),
        ("measure", {"foo": 1}, "measure.foo is unknown"),
        ("measure", {"sample_hz": 0}, "more than nothing"),
        ("engine", {"kind": "tgi"}, "engine kind 'tgi' is unknown"),
        ("engine", {"url": "ftp://x"}, "no address of a server"),
        ("engine", {"url": "http://u:p@x:1"}, "carries a password"),
        ("engine", {"apikey": "x"}, "engine.apikey is unknown"),
        ("model", {"requested": ""}, "model.requested is missing"),
        ("model", {"roofline": {"x": 1}}, "model.roofline.x is unknown"),
        ("run", {"id": "../x"}, "run.id '../x' must be"),
    ],
)
def test_bad_parameters(bench: Bench, group: str, values: dict[str, Any], reason: str) -> None:
    task = values if group == "task" else {}
    if group != "task":
        bench.set(**{group: values})
    with pytest.raises(api.SettingsError) as caught:
        bench.cell(**task)
    assert reason in str(caught.value)


def test_templates_make_strings_of_everything() -> None:
    parsed = Measure.parse({"repeats": "8", "ci_target": "0.1", "controls": "no", "thermal": False, "redo": ["OOM"]})
    assert (parsed.repeats, parsed.ci_target, parsed.controls, parsed.thermal, parsed.redo) == (
        8,
        0.1,
        False,
        "off",
        ("OOM",),
    )
    parsed_task = Task.parse({**TASK, "context": "128", "lang": "zh"})
    assert parsed_task.cell_id("a/b c") == "a-b-c.say.fixed.zh.d128"


def test_interval_of_the_median() -> None:
    """Field notes 6.3: the least and the greatest of 6 cover 96.9 %, of 8 99.2 %; fewer than 6 give nothing."""
    assert stats.median_interval([1, 2, 3, 4, 5]) is None
    assert stats.median_interval([6, 1, 2, 3, 4, 5]) == (1, 6, pytest.approx(0.96875))
    assert stats.median_interval(list(range(8))) == (0, 7, pytest.approx(0.9921875))
    assert stats.median_interval(list(range(12))) == (2, 9, pytest.approx(1 - 2 * (1 + 12 + 66) / 4096))
    assert stats.summary([]) == {**stats.summary([1.0]), "median": None, "mad": None, "n": 0, "values": []}


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


def test_a_cell_waits_for_another_ones_end(serve: Serve, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(engine, pages=dict(PAGES))
    monkeypatch.setattr("mi50.bench.store.time.sleep", lambda _seconds: None)
    bench.set(measure={"load_timeout": 0.05})
    with (
        turn(bench.directory, 0, lambda: None),
        pytest.raises(api.SettingsError, match="another cell is being measured"),
    ):
        bench.cell()
    assert bench.steps[0]["phase"] == "waiting"
    assert bench.cell()["status"] == record.OK


def test_failures_do_not_call_for_more_of_them(serve: Serve, bench: Bench) -> None:
    def uneven(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return llamacpp(40, document["max_tokens"], 100, 10 + number % 3 * 4, cached=20), "close"

    serve(uneven)
    cell = bench.cell()
    assert (cell["status"], cell["measured"]) == (record.CACHED, 6)
