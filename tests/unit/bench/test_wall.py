"""The wall-clock gate: a long prompt with a short answer is possible, a broken counter is not."""

from __future__ import annotations

import pytest
from mi50.bench import gates, record
from mi50.bench.derive import Counts
from mi50.bench.figures import Figures


def verdict(*, prefill_s: float, ttft: float, wall_s: float, n: int, rate: float, prompt: int) -> str | None:
    found = {
        name: record.metric(name, value, "test")
        for name, value in (("dc_srv", rate), ("ttft", ttft), ("pf_srv", prompt / prefill_s))
    }
    tokens = Counts(prompt, prompt, 0, n, n, None)
    judged = gates.plausible(found, Figures(prefill_s=prefill_s, source="timings"), tokens, wall_s)
    return judged[0] if judged else None


@pytest.mark.parametrize(
    ("prefill_s", "wall_s", "n", "rate", "prompt"),
    [
        # llama-server on software Vulkan: 340 prompt tokens, 36 tokens of answer, as measured.
        (234.7, 245.4, 36, 3.28, 340),
        # What an MI50 would show at a depth of 120k: minutes of prefill, seconds of decode.
        (300.0, 308.5, 256, 30.0, 122880),
    ],
)
def test_prefill_that_is_nearly_all_of_the_time(
    prefill_s: float, wall_s: float, n: int, rate: float, prompt: int
) -> None:
    assert verdict(prefill_s=prefill_s, ttft=prefill_s + 0.05, wall_s=wall_s, n=n, rate=rate, prompt=prompt) is None


def test_a_counter_that_claims_too_much() -> None:
    # 128 tokens came within 8 s after the first; a million a second is claimed.
    assert verdict(prefill_s=2.0, ttft=2.0, wall_s=10.0, n=128, rate=1000.0, prompt=2048) == record.IMPLAUSIBLE


def test_a_prefill_time_that_swallows_the_answer_hides_nothing() -> None:
    # The server says that 9.9 of 10 s were prefill; the client saw the first token after one.
    assert verdict(prefill_s=9.9, ttft=1.0, wall_s=10.0, n=90, rate=900.0, prompt=20480) == record.IMPLAUSIBLE
