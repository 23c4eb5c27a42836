"""Judges one request: which of the statuses it gets, and why, in one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from . import checks
from . import record as r
from .adapters.base import error_text
from .derive import Counts
from .figures import Figures
from .reading import Reading
from .record import Metric
from .roofline import Model
from .wire import Exchange, is_loading

A_DEC = (0.97, 1.03)
A_PF_MAX, A_PF_WARN = 1.02, 0.85
# A client that was put off the CPU between the last byte and its timestamp seems early by that; seconds.
A_PF_SLACK_S = 0.01
A_HDR_WARN = 0.01
ETA_MAX = 1.05
DECODE_OVER_PREFILL = 10.0
WALL_MARGIN = 2.0
# Prefill of fewer tokens is all overhead, and no rate to compare with.
_ENOUGH_PROMPT = 16

_FAILURES = {
    "connect": r.TIMEOUT_CONNECT,
    "refused": r.TIMEOUT_CONNECT,
    "prefill": r.TIMEOUT_PREFILL,
    "stall": r.TIMEOUT_STALL,
    "total": r.TIMEOUT_TOTAL,
    "reset": r.STREAM_CUT,
    "protocol": r.STREAM_CUT,
}
_OOM = re.compile(
    r"out of (device |host )?memory|outofmemory|OutOf(Device|Host)Memory|hipErrorOutOfMemory|failed to allocate",
    re.IGNORECASE,
)
_RESET = re.compile(r"device ?lost|ErrorDeviceLost|gpu reset|hipErrorLaunchFailure", re.IGNORECASE)
_NO_IMAGES = re.compile(
    r"image input is not supported|does not support (image|vision|multimodal)|not a multimodal|"
    r"at most 0 image|mmproj|vision add-?on is not loaded|missing data required for image input",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Wanted:
    """What an answer must be for its request to count."""

    max_tokens: int
    fixed: bool = False
    min_tokens: int = 1
    forces_length: bool = True
    image: bool = False
    check_cache: bool = True
    limits: tuple[float, float, float] = (1800.0, 30.0, 7200.0)


Verdict = tuple[str, str]


def message(status_code: int | None, text: str, wanted: Wanted) -> Verdict | None:
    """Return the status that an error message stands for, whatever it came in."""
    if _OOM.search(text):
        return r.OOM, text
    if _RESET.search(text):
        return r.GPU_RESET, text
    if wanted.image and _NO_IMAGES.search(text):
        return r.UNSUPPORTED, text
    del status_code
    return None


def transport(seen: Exchange, reading: Reading, wanted: Wanted) -> Verdict | None:
    """Judge what happened on the wire; None when the stream came to an orderly end."""
    if seen.status is not None and seen.status != 200:
        return _http(seen, wanted)
    if reading.error is not None:
        return message(200, reading.error, wanted) or (r.INBAND_ERROR, reading.error)
    if seen.status == 200 and not seen.events:
        return _no_stream(seen, wanted)
    if seen.failure:
        return _FAILURES[seen.failure], _failure_text(seen, wanted)
    lacks = [] if reading.finish is not None else ["finish reason"]
    if reading.usage_count("completion_tokens") is None and not reading.server:
        lacks.append("token count")
    return (r.STREAM_CUT, f"the stream ended without a {' and a '.join(lacks)}") if lacks else None


def _failure_text(seen: Exchange, wanted: Wanted) -> str:
    prefill, stall, total = wanted.limits
    texts = {
        "prefill": f"no first token within {prefill:g} s",
        "stall": f"no further token for {stall:g} s",
        "total": f"no end within {total:g} s",
        "refused": "the server refuses connections",
        "connect": "no connection",
    }
    return ": ".join(text for text in (texts.get(seen.failure, ""), seen.detail) if text)


def _body_text(seen: Exchange) -> str:
    text = seen.body.decode("utf-8", "replace").strip()
    try:
        return error_text(json.loads(text)) or text[:500]
    except ValueError:
        return text[:500]


def _http(seen: Exchange, wanted: Wanted) -> Verdict:
    code = seen.status or 0
    text = _body_text(seen)
    special = message(code, text, wanted)
    if special:
        return special
    reason = f"HTTP {code}: {text}" if text else f"HTTP {code}"
    if is_loading(seen):
        return r.HTTP_503_LOADING, f"{reason} ({seen.retries_loading} retries)"
    if code == 429:
        return r.HTTP_429, reason
    return (r.HTTP_4XX if 400 <= code < 500 else r.HTTP_5XX), reason


def _no_stream(seen: Exchange, wanted: Wanted) -> Verdict:
    """Judge a 200 that is no stream."""
    if seen.failure:
        return _FAILURES[seen.failure], _failure_text(seen, wanted)
    text = _body_text(seen)
    special = message(200, text, wanted)
    if special:
        return special
    if '"error"' in seen.body.decode("utf-8", "replace"):
        return r.INBAND_ERROR, f"200 with an error: {text}"
    return r.UNSUPPORTED, f"the server does not stream: {text[:200]}"


def answer(reading: Reading, tokens: Counts, wanted: Wanted) -> Verdict | None:
    """Judge length and content of the answer."""
    n = tokens.completion or 0
    if wanted.fixed:
        least = wanted.max_tokens if wanted.forces_length else wanted.min_tokens
        return (r.SHORT, f"{n} of {least} tokens came") if n < least else None
    nothing = not checks.visible(reading.text)
    if nothing and not reading.reasoning.strip() and not reading.text.strip():
        return r.SHORT, f"the end of the sequence came at once ({n} tokens, no text)"
    if nothing:
        spent = "used all" if reading.finish == "length" or n >= wanted.max_tokens else "ended after"
        return r.EMPTY_ANSWER, f"thinking {spent} {n} of {wanted.max_tokens} tokens, no answer came"
    if reading.finish == "length" or (reading.finish != "stop" and n >= wanted.max_tokens):
        return r.TRUNCATED, f"the answer was cut at {n} tokens (limit {wanted.max_tokens})"
    if n < wanted.min_tokens:
        return r.SHORT, f"{n} tokens came, {wanted.min_tokens} are expected at least"
    return None


def _value(found: dict[str, Metric], name: str) -> float | None:
    value = found[name]["value"] if name in found else None
    return None if value is None else float(value)


def plausible(found: dict[str, Metric], own: Figures, tokens: Counts, wall_s: float | None) -> Verdict | None:
    """Apply physics: the roofline, decode against prefill, the server's rate against the client's wall clock."""
    drafted = bool(own.drafted)
    for name, label in (("eta_dec", "decode"), ("eta_pf", "prefill")):
        share = _value(found, name)
        if share is not None and share > ETA_MAX and not (drafted and name == "eta_dec"):
            return r.IMPLAUSIBLE, f"{label} at {share:.0%} of what the memory and the ALUs can do"
    decode = _value(found, "dc_srv") or _value(found, "dc_cli")
    prefill = _value(found, "pf_srv") or _value(found, "pf_hdr") or _value(found, "pf_cli")
    enough = (tokens.effective or 0) >= _ENOUGH_PROMPT
    if decode and prefill and enough and decode > DECODE_OVER_PREFILL * prefill:
        return r.IMPLAUSIBLE, f"decode {decode:.0f} tok/s is more than ten times prefill {prefill:.0f} tok/s"
    rate, n = _value(found, "dc_srv"), tokens.completion
    if rate and n and wall_s:
        # What the server says of its prefill is taken off no further than the client saw the first token: a share of
        # the wall clock instead would call a long prompt with a short answer (128k, 256 tokens) impossible.
        first = _value(found, "ttft")
        rest = max(wall_s - min(own.prefill_s or 0.0, 0.9 * wall_s if first is None else first), 1e-6)
        ceiling = WALL_MARGIN * n / rest
        if rate > ceiling:
            return (
                r.IMPLAUSIBLE,
                f"server's decode {rate:.0f} tok/s, but {n} tokens took {rest:.3f} s on the wall clock",
            )
    return None


def agreement(found: dict[str, Metric], tokens: Counts, own: Figures) -> Verdict | None:
    """Compare the clocks and the counts."""
    if own.source != "metrics_delta" or own.prefill_s is not None:
        for label, by_usage, by_server in (
            ("completion", tokens.completion_usage, tokens.completion_server),
            ("prompt", tokens.prompt_usage, tokens.prompt_server),
        ):
            if by_usage is not None and by_server is not None and by_usage != by_server:
                return r.DISAGREE, f"{label} tokens: {by_usage} by usage, {by_server} by the server's counters"
    decode = _value(found, "a_dec")
    if decode is not None and not A_DEC[0] <= decode <= A_DEC[1]:
        return r.DISAGREE, f"decode by the client is {decode:.3f} of the server's ({A_DEC[0]} to {A_DEC[1]} is allowed)"
    prefill = _value(found, "a_pf")
    early = (own.prefill_s or 0.0) * (1 - 1 / prefill) if prefill else 0.0
    if prefill is not None and prefill > A_PF_MAX and early > A_PF_SLACK_S:
        return r.DISAGREE, f"prefill by the client is {prefill:.3f} of the server's: it can only be slower"
    return None


def warnings(found: dict[str, Metric], tokens: Counts) -> list[str]:
    """Return what a reader should know although the request counts."""
    notes = []
    prefill, headers = _value(found, "a_pf"), _value(found, "a_hdr")
    if prefill is not None and prefill < A_PF_WARN:
        notes.append(f"prefill by the client is {prefill:.3f} of the server's: queue, template or image work before it")
    if headers is not None and abs(headers - 1) > A_HDR_WARN:
        notes.append(f"prefill by response headers is {headers:.4f} of the server's")
    if tokens.cached is None:
        notes.append("the engine does not tell how many prompt tokens came from its cache")
    burst = found.get("burst", {}).get("value")
    if burst is not None and found["dc_cli"]["value"] is None and "bursty" in str(found["dc_cli"]["reason"]):
        notes.append(str(found["dc_cli"]["reason"]))
    return notes


def roofline_shares(found: dict[str, Metric], model: Model | None, tokens: Counts, adds: int) -> None:
    """Add eta_dec and eta_pf; `adds` tokens of output lie on top of the prompt at the middle of decoding."""
    depth = (tokens.prompt or 0) + adds
    why = "no roofline data of this model"
    decode, prefill = (
        _value(found, "dc_srv") or _value(found, "dc_cli"),
        _value(found, "pf_srv") or _value(found, "pf_hdr"),
    )
    eta_dec = decode / model.decode_max(depth) if model and decode else None
    eta_pf = prefill / model.prefill_max(tokens.prompt or 0) if model and prefill else None
    found["eta_dec"] = r.metric(
        "eta_dec", eta_dec, "model data", None if eta_dec else (why if not model else "no decode rate")
    )
    found["eta_pf"] = r.metric(
        "eta_pf", eta_pf, "model data", None if eta_pf else (why if not model else "no prefill rate")
    )


def judge(
    seen: Exchange, reading: Reading, found: dict[str, Metric], own: Figures, tokens: Counts, wanted: Wanted
) -> Verdict:
    """Return the status and the reason of one request; the first that applies, transport before content."""
    verdict = transport(seen, reading, wanted)
    if verdict is None:
        verdict = answer(reading, tokens, wanted)
    if verdict is None and wanted.check_cache and tokens.cached:
        verdict = r.CACHED, f"the server took {tokens.cached} of {tokens.prompt} prompt tokens from its cache"
    if verdict is None:
        wall = (seen.end_ns - seen.t0_ns) / 1e9 if seen.end_ns is not None and seen.t0_ns is not None else None
        verdict = plausible(found, own, tokens, wall)
    return verdict or agreement(found, tokens, own) or (r.OK, "")
