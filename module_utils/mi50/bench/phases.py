"""The phases of a cell: filler of the right length, preheat, coherence, warm-up, measured requests, controls."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import prompt, record, stats, summary, thermal
from .probe import count_tokens, template_check
from .request import evaluate, shoot
from .session import Fired, Session, Shot, fire

# Failures that another try will not cure: the cell is given up at once.
HOPELESS = (
    record.HTTP_4XX,
    record.UNSUPPORTED,
    record.SERVER_DIED,
    record.GPU_RESET,
    record.OOM,
    record.HTTP_503_LOADING,
    record.TIMEOUT_CONNECT,
)
# Failures of the answer and not of the server: the remaining requests are sent all the same.
ANSWERS = (
    record.OK,
    record.CACHED,
    record.SHORT,
    record.TRUNCATED,
    record.EMPTY_ANSWER,
    record.DISAGREE,
    record.IMPLAUSIBLE,
    record.THERMAL,
)
_SAMPLE_WORDS = 600
_PREHEAT_TOKENS = 256
_REPEAT_TOKENS = 8
_COHERENCE = "What is the capital of France? Answer with its name only."
_COHERENCE_TOKENS = 96
_EXPECTED_HIT = {"llama.cpp": True, "vllm": True, "lmdeploy": False}
_FASTER = 0.5


def words_for(session: Session, tokens: int) -> int:
    """Return how many words of filler make so many tokens, by the server's own tokenizer.

    Without /tokenize two requests of one token each tell it. 1.1 tokens a word are taken where nothing does.
    """
    if tokens <= 0:
        return 0
    text = prompt.filler(_SAMPLE_WORDS, "0")
    model = str(session.call.model.get("requested") or "")
    counted = count_tokens(session.endpoint, session.adapter.kind, text, model)
    if counted is None:
        counts = []
        for index, sample in enumerate((text, "")):
            row = shoot(session, Shot("warmup", index, sample + session.task.prompt, 1, fixed=True))
            counts.append(prompt_tokens(row))
        known = [count for count in counts if count is not None]
        counted = known[0] - known[1] if len(known) == len(counts) else None
    ratio = counted / _SAMPLE_WORDS if counted else 1.1
    return max(1, round(tokens / ratio))


def prompt_tokens(row: dict[str, Any]) -> int | None:
    """Return p of a request: by the server's counters, else by the usage object."""
    tokens = row["tokens"]
    value = tokens["prompt_server"] if tokens["prompt_server"] is not None else tokens["prompt_usage"]
    return None if value is None else int(value)


def task_shot(session: Session, role: str, index: int, words: int, **changes: Any) -> Shot:  # noqa: ANN401 - Shot's own
    """Return a request of the cell's task."""
    task = session.task
    values: dict[str, Any] = {
        "max_tokens": task.max_tokens,
        "fixed": task.mode == "fixed",
        "images": task.kind == "image",
        "sampling": task.sampling,
        "system": task.system,
        "text": prompt.filler(words, str(session.seq * 7919)) + task.prompt,
        **changes,
    }
    return Shot(role, index, **values)


def coherence(session: Session) -> dict[str, Any]:
    """Ask something that any working model knows: a kernel that computes nonsense is fast as well."""
    session.notify("coherence", 0, 1, "")
    sampling = {"temperature": 0}
    row = shoot(session, Shot("coherence", 0, _COHERENCE, _COHERENCE_TOKENS, sampling=sampling))
    if row["status"] not in ANSWERS:
        return {"ok": None, "detail": f"no answer: {row['status']} {row['reject_reason']}", "cell_id": session.cell_id}
    text = ""
    if row["output_file"]:
        text = (session.store.base / row["output_file"]).read_text(encoding="utf-8", errors="replace")
    good = "paris" in text.lower() or "巴黎" in text
    return {
        "ok": good,
        "detail": "the answer names Paris" if good else f"the answer does not name Paris: {text[:120]!r}",
        "cell_id": session.cell_id,
    }


def template(session: Session, row: dict[str, Any]) -> dict[str, Any] | None:
    """Compare the coherence probe's prompt tokens with the server's rendering of it."""
    content = f"[{row['rep']['nonce']}]\n\n{_COHERENCE}"
    return template_check(session.endpoint, session.adapter.kind, content, prompt_tokens(row))


def warmup(session: Session, index: int, words: int) -> None:
    """Send a request whose figures are thrown away; it has a nonce of its own, so nothing of it is measured again."""
    session.notify("warmup", index, session.call.measure.warmups, "")
    shoot(session, task_shot(session, "warmup", index, words))


def shoot_text_only(session: Session) -> dict[str, Any]:
    """Send the task's text without its image."""
    return shoot(session, task_shot(session, "text_only", 0, 0, images=False, max_tokens=1, fixed=True))


def preheat(session: Session, words: int) -> dict[str, Any]:
    """Heat the card with the cell's own work."""
    measure = session.call.measure
    sent = 0

    def work() -> bool:
        nonlocal sent
        session.notify("preheat", sent, 0, "")
        tokens = min(_PREHEAT_TOKENS, session.task.max_tokens)
        row = shoot(session, task_shot(session, "preheat", sent, words, max_tokens=tokens))
        sent += 1
        return row["status"] in ANSWERS

    state = thermal.settle(
        session.sampler, measure.thermal, measure.preheat_window, measure.preheat_cap, work, time.sleep
    )
    session.thermal_state = state["state"]
    return state


def _wide(session: Session) -> bool:
    """Tell whether an interval of a headline figure is wider than wanted."""
    rows = [row for row in summary.measured(session.records) if row["status"] == record.OK]
    if len(rows) < session.call.measure.repeats:
        return False  # failures do not call for more of them
    for what in ("decode", "prefill"):
        values = [row["derived"][name]["value"] for row in rows if (name := row["headline"][what])]
        spread = stats.width(values)
        if spread is not None and spread > session.call.measure.ci_target:
            return True
    return False


def _stop(session: Session, row: dict[str, Any]) -> bool:
    failed = [r for r in summary.measured(session.records) if r["status"] not in ANSWERS]
    return row["status"] in HOPELESS or len(failed) >= session.call.measure.keep_going


def measure(session: Session, words: int) -> None:
    """Send the measured requests: as many as wanted, more while the interval is wide."""
    wanted = session.call.measure
    index = 0
    while index < wanted.repeats or (index < wanted.max_repeats and _wide(session)):
        session.notify("measure", index, max(wanted.repeats, index + 1), "")
        row = shoot(session, task_shot(session, "measured", index, words))
        index += 1
        if _stop(session, row):
            return


def measure_lengths(session: Session) -> None:
    """Send the requests of the prefill slope: two lengths in turn, one token of answer."""
    words = [words_for(session, length) for length in session.task.lengths]
    roles = ("length_a", "length_b")
    for number in range(session.call.measure.repeats):
        for role, count in zip(roles, words):
            session.notify("measure", number, session.call.measure.repeats, role)
            row = shoot(session, task_shot(session, role, number, count, max_tokens=1, fixed=True))
            if _stop(session, row):
                return


def measure_together(session: Session, words: int) -> list[float]:
    """Send requests at once, as many as the concurrency says; return each round's tokens a second in all.

    The server's counters cannot be told apart then: vLLM's seconds are left out by their own count of requests.
    """
    rates: list[float] = []
    width = session.task.concurrency
    for number in range(session.call.measure.repeats):
        session.notify("measure", number, session.call.measure.repeats, f"{width} together")
        gate = threading.Barrier(width)
        shots = [task_shot(session, "measured", number, words, stream=stream) for stream in range(width)]
        base = session.seq
        with ThreadPoolExecutor(width) as pool:
            futures = [
                pool.submit(fire, session, shot, base + stream, width == 1, gate) for stream, shot in enumerate(shots)
            ]
            fired: list[Fired] = [future.result() for future in futures]
        rows = [evaluate(session, item) for item in fired]
        if all(row["status"] == record.OK for row in rows):
            rates.append(_together(fired, rows))
        if any(_stop(session, row) for row in rows):
            break
    return rates


def _together(fired: list[Fired], rows: list[dict[str, Any]]) -> float:
    starts = [item.seen.t0_ns or 0 for item in fired]
    ends = [(item.seen.t0_ns or 0) + (row["t"]["last_token"] or 0) for item, row in zip(fired, rows)]
    tokens = sum(row["tokens"]["completion_usage"] or 0 for row in rows)
    return float(tokens * 1e9 / (max(ends) - min(starts)))


def _expected(session: Session) -> bool | None:
    """Return whether the engine's cache should serve a repeat; None where nobody knows."""
    expected = _EXPECTED_HIT.get(session.adapter.kind)
    words = session.identity.cmdline or []
    if "--no-enable-prefix-caching" in words or "--no-cache-prompt" in words:
        return False
    return True if "--enable-prefix-caching" in words else expected


def repeat(session: Session) -> dict[str, Any] | None:
    """Send the last measured prompt again with the caches allowed: they must be seen to work.

    What was measured had no hit; this shows that a hit would have been noticed.
    """
    rows = [row for row in summary.measured(session.records) if row["status"] in ANSWERS]
    if not rows:
        return None
    shot, last = session.last_shot, rows[-1]
    if shot is None:
        return None
    session.notify("repeat", 0, 1, "")
    again = Shot(
        "repeat",
        0,
        shot.text,
        min(_REPEAT_TOKENS, shot.max_tokens),
        fixed=False,
        cached=True,
        nonce=last["rep"]["nonce"],
        images=shot.images,
        sampling=shot.sampling,
        system=shot.system,
    )
    row = shoot(session, again)
    return _judge_repeat(session, rows, row)


def prefill_s(row: dict[str, Any]) -> float | None:
    """Return t1 - tb of a request in seconds."""
    times = row["t"]
    if times["first_token"] is None or times["body_sent"] is None:
        return None
    return float(times["first_token"] - times["body_sent"]) / 1e9


def _judge_repeat(session: Session, rows: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    expected = _expected(session)
    cached = row["tokens"]["cached"]
    times = [value for item in rows if (value := prefill_s(item)) is not None]
    again = prefill_s(row)
    ratio = again / statistics.median(times) if again is not None and times else None
    hit = cached > 0 if cached is not None else None
    faster = ratio is not None and ratio < _FASTER
    seen = ("hit" if hit else "miss") if hit is not None else ("faster" if faster else "not faster")
    good = None if expected is None else (hit if hit is not None else faster) == expected
    told = "no count of cached tokens" if cached is None else f"{cached} of {prompt_tokens(row)} prompt tokens cached"
    pace = "" if ratio is None else f", first token after {ratio:.2f} of the measured time"
    return {
        "expected": None if expected is None else ("hit" if expected else "miss"),
        "seen": seen,
        "cached": cached,
        "ratio": ratio,
        "ok": good,
        "detail": f"deliberate repeat: {told}{pace}",
    }
