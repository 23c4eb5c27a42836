"""Unusable parameters are named; the statistics of a cell."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.bench import api, stats
from mi50.bench.settings import Measure, Task

from .conftest import TASK, Bench


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
