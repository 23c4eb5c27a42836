"""Answers are judged by what they hold: good answers pass every check, plausible bad ones fail the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.mi50.bench.check_text import edit_distance_within, fenced, last_numbers, parse_number
from ansible.module_utils.mi50.bench.checks import run, visible
from ansible.module_utils.mi50.bench.suite import load_suite
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bench_suite.answers import BAD, GOOD

SUITES = Path(__file__).resolve().parents[3] / "suites"


def checks(task: str, language: str) -> list[dict[str, Any]]:
    suite = load_suite(SUITES / "blog-2025-10.yml", language)
    found: list[dict[str, Any]] = next(entry["checks"] for entry in suite["tasks"] if entry["id"] == task)
    return found


@pytest.mark.parametrize(("task", "language"), GOOD, ids="-".join)
def test_a_good_answer_passes(task: str, language: str) -> None:
    failed = [result for result in run(checks(task, language), GOOD[task, language]) if not result["pass"]]
    assert failed == []


def test_every_task_has_a_good_answer_in_both_languages() -> None:
    tasks = [task["id"] for task in load_suite(SUITES / "blog-2025-10.yml")["tasks"]]
    assert {(task, language) for task in tasks for language in ("zh", "en")} == set(GOOD) == set(BAD)


@pytest.mark.parametrize(
    ("task", "language", "wrong"), [(*key, wrong) for key, answers in BAD.items() for wrong in answers], ids=str
)
def test_a_bad_answer_fails(task: str, language: str, wrong: str) -> None:
    answer, failing = BAD[task, language][wrong]
    results = {result["id"]: result for result in run(checks(task, language), answer)}
    assert not results[failing]["pass"], results[failing]["detail"]


@pytest.mark.parametrize(("task", "language"), GOOD, ids="-".join)
@pytest.mark.parametrize("answer", ["", "  \n", "<think>{good}", "<think>{good}</think>\n", "{good}</think>"])
def test_thinking_is_no_answer(task: str, language: str, answer: str) -> None:
    text = answer.replace("{good}", GOOD[task, language].split("</think>")[-1])
    results = run(checks(task, language), text)
    assert results
    assert not any(result["pass"] for result in results)
    assert all("no answer" in result["detail"] for result in results)


def test_thinking_before_the_answer_does_not_count() -> None:
    assert visible("<think>7</think>8") == "8"
    assert visible("a template ate the tag: 7\n</think>\n8") == "8"
    assert run([{"id": "n", "kind": "number", "value": 8}], "<think>Answer: 7</think>It is 8.")[0]["pass"]


@pytest.mark.parametrize(
    ("text", "count", "numbers"),
    [
        ("x = 3, so 2x = 6", 1, [6]),
        ("答案：m=15，最大的根=5", 2, [15, 5]),
        ("Answer: 3 (not 4)", 1, [3]),
        (r"\boxed{\dfrac{36}{5}}", 1, [7.2]),
        (r"\boxed{15}, \boxed{5}", 2, [15, 5]),
        (r"\boxed{a^{2} = 4}", 1, [4]),
        (r"first \boxed{1}, then \boxed{15}, \boxed{5}", 2, [15, 5]),
        ("It costs 1,234.5 in all", 1, [1234.5]),
        ("temperature \u22127.5", 1, [-7.5]),
        ("10-3", 1, [3]),
        ("**Answer: 36/5**", 1, [7.2]),
        ("no number", 1, []),
        ("1/0 then 2", 1, [2]),
        ("CO2 and H2O", 1, []),
        ("最终答案是：7", 1, [7]),
    ],
)
def test_the_final_number_is_found(text: str, count: int, numbers: list[float]) -> None:
    assert last_numbers(text, count) == pytest.approx(numbers)


def test_a_fraction_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="division by zero"):
        parse_number("3/0")


def slow_distance(pattern: str, text: str) -> int:
    """Sellers' table: the definition that the bit vectors have to agree with."""
    row = [0] * (len(text) + 1)
    for char in pattern:
        above, row = row, [row[0] + 1]
        for index, other in enumerate(text):
            row.append(min(above[index] + (char != other), above[index + 1] + 1, row[-1] + 1))
    return min(row)


@given(st.text("abc", max_size=90), st.text("abc", max_size=90))
def test_the_edit_distance_is_that_of_the_definition(pattern: str, text: str) -> None:
    assert edit_distance_within(pattern, text) == slow_distance(pattern, text)


def test_text_around_a_quotation_costs_nothing() -> None:
    check = {"id": "o", "kind": "ocr", "text": "Open 9:30 to 5:45", "max_error_rate": 0.0}
    assert run([check], "The sign says: ＯＰＥＮ 9:30 to 5:45. Anything else?")[0]["pass"]
    assert run([check], "Open 9:30 to 5:46")[0]["detail"] == "1 of 12 characters wrong (8.3%)"


def test_the_block_of_the_wanted_language_is_taken() -> None:
    text = "```text\nsome much longer block than the other\n```\n```html\n<p>\n```\n"
    assert fenced(text, "html") == "<p>\n"
    assert fenced(text) == "some much longer block than the other\n"
    assert fenced("nothing") is None
    assert fenced("```html\n<p>cut") == "<p>cut"


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"check 'x': unknown kind 'taste'; known: coherent, html"):
        run([{"id": "x", "kind": "taste"}], "text")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ({"kind": "without", "words": ["sorry", "抱歉"]}, "Here it is", "Sorry, no."),
        ({"kind": "without", "words": ["sorry", "抱歉"]}, "好的", "很抱歉"),
        ({"kind": "words", "groups": ["cat"]}, "Two cats.", "A category."),
        ({"kind": "words", "groups": [["a", "b"], ["c"]], "at_least": 1}, "b", "d"),
        ({"kind": "pattern", "regex": "^- ", "at_least": 2}, "- a\n- b", "- a\n b"),
        ({"kind": "length", "unit": "characters", "min": 3, "max": 4}, "a b c", "a b"),
        ({"kind": "length", "unit": "characters", "min": 3, "max": 4}, "abc", "abcde"),
        ({"kind": "language", "is": "en"}, "plain words", "普通的话"),
        ({"kind": "language", "is": "zh"}, "普通的话", "12345"),
        ({"kind": "coherent"}, "Fine.", "\ufffd\ufffd a\x00"),
        ({"kind": "number", "value": 2, "tolerance": 0.5}, "2.4", "2.6"),
        ({"kind": "html"}, "<!doctype html><html><p>a<br>b</html>", "<!doctype html><html><div>a</html>"),
        ({"kind": "html"}, "<!doctype html><html><p>a</html>", "<html><p>a</html>"),
        ({"kind": "html"}, "<!doctype html><html><svg><path/></svg></html>", "<!doctype html><html></b></html>"),
        ({"kind": "plan"}, '{"tasks": [{"id": 1, "title": "a", "days": 1, "depends_on": []}]}', '{"tasks": []}'),
        (
            {"kind": "plan"},
            '{"tasks": [{"id": 1, "title": "a", "days": 1, "depends_on": []}]}',
            '{"tasks": [{"id": 1}]}',
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_each_kind_tells_right_from_wrong(check: dict[str, Any], good: str, bad: str) -> None:
    assert run([{"id": "c", **check}], good)[0]["pass"], run([{"id": "c", **check}], good)
    assert not run([{"id": "c", **check}], bad)[0]["pass"], run([{"id": "c", **check}], bad)
