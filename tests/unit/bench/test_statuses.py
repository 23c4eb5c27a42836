"""Every status is produced by a server that behaves so, and stands in the cell's line with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mi50.bench import record
from mi50.bench.formulas import FORMULAS

from .conftest import PROPS, Bench
from .virtual import DONE, MS, OK, Answer, Script, Server, chunk, llamacpp, plain, sse, timings, usage

Serve = Callable[..., Server]


def good(document: dict[str, Any], _number: int) -> tuple[Script, str]:
    return llamacpp(40, document["max_tokens"], 100, 10), "close"


def always(script: Script, end: str = "close") -> Answer:
    return lambda _document, _number: (script, end)


def stream(*parts: tuple[int, bytes]) -> Script:
    return [(2 * MS, OK), *[(wait * MS, data) for wait, data in parts]]


def natural(text: str, finish: str, n: int, reasoning: str = "") -> Script:
    """An answer that ends by itself (or not), with usage."""
    deltas = [{"reasoning_content": "t"} for _ in reasoning] + [{"content": c} for c in text]
    parts = [(10, chunk(delta)) for delta in deltas]
    return stream((100, chunk({"role": "assistant"})), *parts, (10, chunk({}, finish) + usage(40, n) + DONE))


def ending(last: bytes) -> Script:
    """48 tokens in 470 ms, with another last word of the server."""
    return [*llamacpp(40, 48, 100, 10)[:-1], (0, chunk({}, "length") + last + DONE)]


ERROR = {"error": {"message": "broken inside", "type": "server_error"}}
LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}

CUT = stream((100, chunk({"content": "a"})))

# status -> what the server does, the task, what its reason says
CASES: dict[str, tuple[Answer, dict[str, Any], str]] = {
    record.OK: (good, {}, ""),
    record.CACHED: (always(llamacpp(40, 48, 100, 10, cached=30)), {}, "took 30 of 40 prompt tokens from its cache"),
    record.SHORT: (always(llamacpp(40, 35, 100, 10)), {}, "35 of 48 tokens came"),
    record.TRUNCATED: (always(natural("a" * 48, "length", 48)), {"mode": "natural"}, "cut at 48 tokens (limit 48)"),
    record.EMPTY_ANSWER: (
        always(natural("", "length", 48, reasoning="t" * 48)),
        {"mode": "natural"},
        "thinking used all 48 of 48 tokens",
    ),
    record.HTTP_4XX: (
        always(plain(401, {"error": {"message": "Invalid API Key"}})),
        {},
        "HTTP 401: Invalid API Key",
    ),
    record.HTTP_429: (always(plain(429, {"error": "slow down"})), {}, "HTTP 429: slow down"),
    record.HTTP_5XX: (always(plain(500, {"error": "oops"})), {}, "HTTP 500: oops"),
    record.HTTP_503_LOADING: (always(plain(503, LOADING)), {}, "HTTP 503: Loading model"),
    record.TIMEOUT_PREFILL: (always(stream((5, b": ping\n\n")), "hang"), {}, "no first token within 20 s"),
    record.TIMEOUT_STALL: (always(stream((100, chunk({"content": "a"}))), "hang"), {}, "no further token for 3 s"),
    record.TIMEOUT_TOTAL: (
        always(stream(*[(1000, chunk({"content": "a"}))] * 100)),
        {},
        "no end within 60 s",
    ),
    record.STREAM_CUT: (always(CUT), {}, "without a finish reason and a token count"),
    record.INBAND_ERROR: (always(stream((100, chunk({"content": "a"})), (5, sse(ERROR)))), {}, "broken inside"),
    record.OOM: (
        always(plain(500, {"error": {"message": "ErrorOutOfDeviceMemory: failed to allocate"}})),
        {},
        "ErrorOutOfDeviceMemory",
    ),
    record.GPU_RESET: (always(stream((5, sse({"error": "vk::DeviceLost: ErrorDeviceLost"})))), {}, "DeviceLost"),
    record.UNSUPPORTED: (always([(2 * MS, plain(200, {"choices": []})[0][1])]), {}, "does not stream"),
    record.DISAGREE: (
        always(ending(usage(40, 49, timings=timings(40, 0, 100, 48, 470)))),
        {},
        "completion tokens: 49 by usage, 48 by the server's counters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("status", CASES)
def test_status(status: str, serve: Serve, bench: Bench) -> None:
    answer, task, reason = CASES[status]
    serve(answer, pages={"/props": PROPS})
    cell = bench.cell(**task)
    assert (cell["status"], reason in (cell["reject_reason"] or "")) == (status, True), cell["reject_reason"]
    assert bench.rows("cell")[-1]["status"] == status
    rows = [row for row in bench.rows() if row["rep"]["role"] == "measured"] or bench.rows()
    assert rows[0]["status"] == status
    if status != record.OK:
        assert cell["ok"] == 0
        assert rows[0]["reject_reason"]


def test_eos_at_once(serve: Serve, bench: Bench) -> None:
    serve(always(stream((100, chunk({"role": "assistant"}, "stop") + usage(40, 1) + DONE))))
    cell = bench.cell(mode="natural")
    assert cell["status"] == record.SHORT
    assert "came at once" in cell["reject_reason"]


def test_thinking_left_in_the_text_is_no_answer(serve: Serve, bench: Bench) -> None:
    serve(always(natural("<think>abc", "length", 48)))
    assert bench.cell(mode="natural")["status"] == record.EMPTY_ANSWER


def test_error_in_a_200_that_is_no_stream(serve: Serve, bench: Bench) -> None:
    serve(always(plain(200, ERROR)))
    cell = bench.cell()
    assert (cell["status"], "broken inside" in cell["reject_reason"]) == (record.INBAND_ERROR, True)


def test_a_reset_in_the_middle(serve: Serve, bench: Bench) -> None:
    serve(always(stream((100, chunk({"content": "a"}))), "reset"))
    cell = bench.cell()
    assert cell["status"] == record.STREAM_CUT
    assert (cell["measured"], cell["lost_requests"]) == (2, 3)  # the warm-up, and two before it was given up


def test_nobody_listens(serve: Serve, bench: Bench) -> None:
    server = serve(good, refuse=10_000)
    cell = bench.cell()
    assert (cell["status"], cell["measured"]) == (record.TIMEOUT_CONNECT, 0)
    assert "refused" in cell["reject_reason"]
    assert cell["retries"]["refused"] == server.connections - 1 > 3


def test_still_loading(serve: Serve, bench: Bench) -> None:
    serve(good, pages={"/v1/models": plain(503, LOADING)})
    cell = bench.cell()
    assert (cell["status"], cell["measured"]) == (record.HTTP_503_LOADING, 0)


def test_loading_and_refusing_for_a_while_is_waited_for_and_counted(serve: Serve, bench: Bench) -> None:
    left = {"n": 3}

    def models(_document: object) -> Any:
        left["n"] -= 1
        return plain(503, LOADING) if left["n"] >= 0 else {"data": [{"id": "tiny"}]}

    serve(good, pages={"/v1/models": models}, refuse=2)
    cell = bench.cell()
    assert (cell["status"], cell["retries"]) == (record.OK, {"refused": 2, "loading": 3})


def test_a_measured_request_is_never_sent_twice(serve: Serve, bench: Bench) -> None:
    """The third one is cut: it is lost, counted, and not made good by another try."""

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return (CUT, "close") if number == 3 else good(document, number)

    server = serve(answer)
    cell = bench.cell()
    assert (cell["status"], cell["ok"], cell["measured"], cell["lost_requests"]) == (record.STREAM_CUT, 5, 6, 1)
    assert cell["reject_reason"].startswith("1 of 6:")
    assert len(server.asked) == 7  # one warm-up and six
    assert cell["metrics"]["dc_srv"]["n"] == 5


def test_hopeless_failures_are_not_repeated(serve: Serve, bench: Bench) -> None:
    server = serve(CASES[record.HTTP_4XX][0])
    assert bench.cell()["statuses"] == {}
    assert len(server.asked) == 1


def test_wrong_model_name(serve: Serve, bench: Bench) -> None:
    serve(always(plain(404, {"object": "error", "message": "The model `tiny` does not exist.", "code": 404})))
    cell = bench.set(engine={"kind": "vllm"}).cell()
    assert (cell["status"], "does not exist" in cell["reject_reason"]) == (record.HTTP_4XX, True)


def test_images_to_a_text_model(serve: Serve, bench: Bench, tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(b"\xff\xd8jpeg")
    serve(always(plain(500, {"error": {"message": "image input is not supported - hint: mmproj"}})))
    cell = bench.cell(kind="image", images=[{"path": str(image)}])
    assert cell["status"] == record.UNSUPPORTED


@pytest.mark.parametrize(
    ("group", "values", "reason"),
    [
        ("model", {"unsupported": "no 4-bit kernel"}, "no 4-bit kernel"),
        ("model", {"context": 8192}, "the server's context is 4096 tokens, 8192 are needed"),
        ("model", {"file": "/m/other.gguf"}, "the server serves tiny.gguf, not other.gguf"),
    ],
)
def test_unsupported_before_anything_is_sent(
    serve: Serve, bench: Bench, group: str, values: dict[str, Any], reason: str
) -> None:
    server = serve(good, pages={"/props": PROPS})
    cell = bench.set(**{group: values}).cell()
    assert (cell["status"], cell["reject_reason"]) == (record.UNSUPPORTED, reason)
    assert server.asked == []


def test_implausible_by_the_wall_clock(serve: Serve, bench: Bench) -> None:
    """The server claims 47 tokens in 5 ms; they took 470 ms."""
    serve(always(ending(usage(40, 48, timings=timings(40, 0, 1, 48, 5.0)))))
    cell = bench.cell()
    assert (cell["status"], cell["headline"]["decode"]["median"]) == (record.IMPLAUSIBLE, None)
    assert "on the wall clock" in cell["reject_reason"]


def test_loading_again_before_t0_is_waited_for(serve: Serve, bench: Bench) -> None:
    """The list of models is there already, the model is not: the request was not taken, so it may be sent again."""

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        return (plain(503, LOADING), "close") if number < 2 else good(document, number)

    server = serve(answer)
    cell = bench.cell()
    assert (cell["status"], cell["retries"]) == (record.OK, {"refused": 0, "loading": 2})
    assert len(server.asked) == 2 + 7


def test_implausible_by_the_roofline(serve: Serve, bench: Bench) -> None:
    serve(good)
    bench.set(model={"roofline": {"active_bytes": 17.2e9, "active_params": 27e9}})
    cell = bench.cell()
    assert (cell["status"], "of what the memory" in cell["reject_reason"]) == (record.IMPLAUSIBLE, True)


def test_clocks_that_disagree(serve: Serve, bench: Bench) -> None:
    """The stream takes 470 ms, the server says 450."""
    serve(always(ending(usage(40, 48, timings=timings(40, 0, 100, 48, 450)))))
    cell = bench.cell()
    assert (cell["status"], "0.957 of the server's" in cell["reject_reason"]) == (record.DISAGREE, True)
    assert cell["headline"]["decode"]["median"] == pytest.approx(47 / 0.45)  # shown, with its status


def test_incoherent_model(serve: Serve, bench: Bench) -> None:
    serve(good)
    cell = bench.set(measure={"controls": True}).cell()
    assert (cell["status"], "does not name Paris" in cell["reject_reason"]) == (record.IMPLAUSIBLE, True)
    assert cell["ok"] == 6


def test_broken_template(serve: Serve, bench: Bench) -> None:
    """--chat-template with a word under jinja: every prompt is 3 tokens."""

    def answer(document: dict[str, Any], _number: int) -> tuple[Script, str]:
        return llamacpp(3, document["max_tokens"], 100, 10, text="Paris "), "close"

    pages = {"/props": PROPS, "/apply-template": {"prompt": "gemma"}, "/tokenize": {"tokens": [1, 2, 3]}}
    serve(answer, pages=pages)
    cell = bench.set(measure={"controls": True}).cell()
    assert (cell["status"], "chat template" in cell["reject_reason"]) == (record.IMPLAUSIBLE, True)


def test_every_status_is_covered() -> None:
    """Those not in CASES have a test of their own, here or in test_gpu.py."""
    own = {record.TIMEOUT_CONNECT, record.IMPLAUSIBLE, record.SERVER_DIED, record.THERMAL, record.DIRTY_BASELINE}
    assert set(CASES) | own == set(record.STATUSES)
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert all(f"record.{name}" in text for name in own)


def test_the_schema_knows_the_same_statuses(repo_root: Path) -> None:
    schema = json.loads((repo_root / "module_utils/mi50/bench/schema.json").read_text())
    assert schema["$defs"]["status"]["enum"] == list(record.STATUSES)
    assert schema["$defs"]["request"]["properties"]["rep"]["properties"]["role"]["enum"] == list(record.ROLES)


def test_the_documentation_has_every_status_and_formula(repo_root: Path) -> None:
    page = (repo_root / "docs/benchmark.md").read_text()
    for name, text in record.STATUSES.items():
        assert f"| `{name}` | {text} |" in page
    for name, formula in FORMULAS.items():
        assert f"| `{name}` | `{formula.id}` | {formula.unit or 'ratio'} | {formula.text} |" in page


def test_a_server_elsewhere_that_went_away(serve: Serve, bench: Bench) -> None:
    """No process can be seen; but after the cut nobody listens any more."""
    made: list[Server] = []

    def answer(document: dict[str, Any], number: int) -> tuple[Script, str]:
        if number < 3:
            return good(document, number)
        made[0].refuse = 10_000
        return CUT, "reset"

    made.append(serve(answer))
    cell = bench.cell()
    assert (cell["status"], cell["ok"], cell["measured"]) == (record.SERVER_DIED, 2, 3)
