"""What a run leaves behind: the records of its JSONL file and where everything lies. schema.json says it in full.

One file per node x framework x run: `DIR/RUN_ID/FRAMEWORK.jsonl`; the raw streams, answers and sensor samples lie
beside it in `raw/FRAMEWORK/`, named by the records (paths relative to `DIR/RUN_ID`). Lines, in the order written:

`run`      who measured what with what; written at each start of a session (again after a resume or a reboot)
`request`  one request with its derived metrics; belongs to (cell_id, attempt)
`cell`     a finished cell. Only its own attempt counts; requests of other attempts are remains of a kill
`baseline` VRAM before an engine was started, or after it was stopped

Every metric is `{"value", "unit", "formula", "source", "reason"}`; a value that is null has a reason, never a hole.
Times of a request are nanoseconds after `t0_ns`, which is the node's monotonic clock.
"""

from __future__ import annotations

from typing import Any

from .formulas import FORMULAS

SCHEMA_VERSION = 1

OK = "OK"
CACHED = "CACHED"
SHORT = "SHORT"
TRUNCATED = "TRUNCATED"
EMPTY_ANSWER = "EMPTY_ANSWER"
HTTP_4XX = "HTTP_4XX"
HTTP_429 = "HTTP_429"
HTTP_5XX = "HTTP_5XX"
HTTP_503_LOADING = "HTTP_503_LOADING"
TIMEOUT_CONNECT = "TIMEOUT_CONNECT"
TIMEOUT_PREFILL = "TIMEOUT_PREFILL"
TIMEOUT_STALL = "TIMEOUT_STALL"
TIMEOUT_TOTAL = "TIMEOUT_TOTAL"
STREAM_CUT = "STREAM_CUT"
INBAND_ERROR = "INBAND_ERROR"
SERVER_DIED = "SERVER_DIED"
GPU_RESET = "GPU_RESET"
OOM = "OOM"
UNSUPPORTED = "UNSUPPORTED"
IMPLAUSIBLE = "IMPLAUSIBLE"
DISAGREE = "DISAGREE"
THERMAL = "THERMAL"
DIRTY_BASELINE = "DIRTY_BASELINE"

# What each status says, for the report's legend and the documentation.
STATUSES: dict[str, str] = {
    OK: "measured, and every gate passed",
    CACHED: "prompt tokens came from a cache, so prefill was not measured",
    SHORT: "the answer ended before the wanted or least length",
    TRUNCATED: "the answer was cut by the token limit although it should end by itself",
    EMPTY_ANSWER: "nothing but thinking (or nothing at all) came",
    HTTP_4XX: "the server refused the request: wrong key, wrong model name, prompt too long",
    HTTP_429: "the server said too many requests",
    HTTP_5XX: "the server failed with an HTTP error",
    HTTP_503_LOADING: "the server was still loading the model when the patience ran out",
    TIMEOUT_CONNECT: "no connection within the time",
    TIMEOUT_PREFILL: "no first token within the time",
    TIMEOUT_STALL: "no further token within the time",
    TIMEOUT_TOTAL: "no end within the time",
    STREAM_CUT: "the stream ended without a finish reason and a token count",
    INBAND_ERROR: "an error inside an answer that began with 200",
    SERVER_DIED: "the server's process or the host's boot changed, or it went away",
    GPU_RESET: "the GPU was reset, or uncorrectable memory errors were counted",
    OOM: "the server or the GPU ran out of memory",
    UNSUPPORTED: "this engine cannot run this model or task",
    IMPLAUSIBLE: "the figures are physically impossible",
    DISAGREE: "the clocks or the token counts disagree",
    THERMAL: "the card throttled, or no thermal steady state was reached",
    DIRTY_BASELINE: "something else held VRAM before the engine was started",
}

# Why a request was sent. Only `measured` enters the figures.
ROLES = ("preheat", "coherence", "warmup", "measured", "repeat", "text_only", "length_a", "length_b")

Metric = dict[str, Any]


def metric(name: str, value: float | None, source: str, reason: str | None = None) -> Metric:
    """Return one metric with the id and unit of its formula. Raises KeyError for a name without a formula."""
    formula = FORMULAS[name]
    return {"value": value, "unit": formula.unit, "formula": formula.id, "source": source, "reason": reason}
