"""Check an answer without judging taste: does it hold the number, the words, the structure that the task asks for?

A fast kernel that computes wrongly must not win, so every task of a suite carries checks that a program can decide.
`run(checks, answer_text)` gives one result a check; the kinds and their parameters are in suites/schema.json.
Only what the model says to the user counts: thinking, whether in its own field or in <think> tags, does not.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Any, Callable

from .check_structure import check_html, check_plan
from .check_text import (
    edit_distance_within,
    fenced,
    last_numbers,
    letters,
    normalise,
    parse_number,
    shorten,
)

Check = dict[str, Any]
Result = dict[str, Any]
_CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[A-Za-z]+(?:['\u2019-][A-Za-z]+)*")
_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINK_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)


def run(checks: list[Check], answer_text: str) -> list[Result]:
    """Return `{"id", "pass", "detail"}` a check, in the given order. Raises ValueError for a kind that is unknown."""
    answer = visible(answer_text)
    return [_one(check, answer) for check in checks]


def visible(text: str) -> str:
    """The answer without thinking that a server left in the text; empty when it never got out of it."""
    ends = list(_THINK_END.finditer(text))
    if ends:
        text = text[ends[-1].end() :]
    start = _THINK_START.search(text)
    return (text[: start.start()] if start else text).strip()


def _one(check: Check, answer: str) -> Result:
    kind = check.get("kind")
    if kind not in KINDS:
        raise ValueError(f"check {check.get('id')!r}: unknown kind {kind!r}; known: {', '.join(sorted(KINDS))}")
    if not answer:
        passed, detail = False, "no answer: nothing but thinking, or nothing at all"
    else:
        passed, detail = KINDS[kind](check, answer)
    return {"id": str(check.get("id", kind)), "pass": passed, "detail": detail}


def _number(check: Check, answer: str) -> tuple[bool, str]:
    """The final number, or the final numbers in any order, within a tolerance (absolute, default exact)."""
    wanted = [parse_number(str(value)) for value in _listed(check["value"])]
    found = last_numbers(answer, len(wanted))
    if len(found) < len(wanted):
        return False, f"{len(found)} of {len(wanted)} numbers in the final answer"
    tolerance = float(check.get("tolerance", 0)) + 1e-9
    pairs = zip(sorted(found), sorted(wanted))
    shown = ", ".join(f"{value:g}" for value in found)
    passed = all(abs(got - want) <= tolerance for got, want in pairs)
    return passed, f"final answer {shown}" + ("" if passed else f", not {', '.join(f'{w:g}' for w in wanted)}")


def _words(check: Check, answer: str) -> tuple[bool, str]:
    """At least `at_least` (default all) of the groups occur; a group is a word or a list of words of one meaning."""
    text = normalise(answer)
    groups = [_listed(group) for group in check["groups"]]
    missing = [str(group[0]) for group in groups if not any(_has(text, str(word)) for word in group)]
    wanted = int(check.get("at_least", len(groups)))
    got = len(groups) - len(missing)
    return got >= wanted, f"{got} of {len(groups)}, {wanted} wanted" + (
        f"; missing: {', '.join(missing)}" if missing else ""
    )


def _without(check: Check, answer: str) -> tuple[bool, str]:
    """None of the words occurs."""
    text = normalise(answer)
    found = [str(word) for word in check["words"] if _has(text, str(word))]
    return not found, f"found: {', '.join(found)}" if found else "none found"


def _ocr(check: Check, answer: str) -> tuple[bool, str]:
    """Character error rate of the best matching stretch; blanks, case and punctuation width do not count."""
    wanted = letters(check["text"])
    distance = edit_distance_within(wanted, letters(fenced(answer) or answer))
    rate = distance / max(1, len(wanted))
    return rate <= float(check["max_error_rate"]), f"{distance} of {len(wanted)} characters wrong ({rate:.1%})"


def _length(check: Check, answer: str) -> tuple[bool, str]:
    """Length in Chinese characters, in words, or in characters without blanks."""
    unit = check.get("unit", "characters")
    counted = {"chinese": lambda: len(_CJK.findall(answer)), "words": lambda: len(_WORD.findall(answer))}
    length = counted.get(unit, lambda: len(re.sub(r"\s", "", answer)))()
    low, high = int(check.get("min", 0)), check.get("max")
    passed = length >= low and (high is None or length <= int(high))
    return passed, f"{length} {unit}, {low} to {high if high is not None else 'any number'} wanted"


def _language(check: Check, answer: str) -> tuple[bool, str]:
    """Share of Chinese among what is written, a Chinese character and a Latin word counting one each."""
    chinese, latin = len(_CJK.findall(answer)), len(_WORD.findall(answer))
    share = chinese / (chinese + latin) if chinese + latin else 0.0
    right = share if check["is"] == "zh" else (1 - share if latin else 0.0)
    return right >= float(check.get("min_share", 0.7)), f"{right:.0%} {check['is']}"


def _coherent(check: Check, answer: str) -> tuple[bool, str]:
    """No loop and no rubbish: repeated text packs far better than any prose, broken characters are none."""
    data = answer.encode()
    ratio = len(zlib.compress(data, 6)) / len(data)
    broken = sum(
        1 for c in answer if c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Co", "Cn") and c not in "\n\r\t")
    )
    least = float(check.get("min_ratio", 0.2))
    passed = (len(data) < 200 or ratio >= least) and broken <= len(answer) // 200
    return passed, f"packs to {ratio:.0%} of its size, {broken} broken characters"


def _pattern(check: Check, answer: str) -> tuple[bool, str]:
    """A regular expression occurs at least `at_least` times (default once); `^` and `$` mean lines."""
    found = len(re.findall(check["regex"], answer, re.MULTILINE | re.IGNORECASE))
    least = int(check.get("at_least", 1))
    return found >= least, f"{found} times, at least {least} wanted: {shorten(check['regex'])}"


def _has(text: str, word: str) -> bool:
    """Whether a word occurs; Latin words as whole words, so that `cat` is not in `category`."""
    word = normalise(word)
    if re.search(r"[a-z0-9]", word):
        return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?:e?s)?(?![a-z0-9])", text) is not None
    return word in text


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - a scalar or a list, as the suite has it
    return list(value) if isinstance(value, (list, tuple)) else [value]


KINDS: dict[str, Callable[[Check, str], tuple[bool, str]]] = {
    "number": _number,
    "words": _words,
    "without": _without,
    "ocr": _ocr,
    "length": _length,
    "language": _language,
    "coherent": _coherent,
    "pattern": _pattern,
    "html": check_html,
    "plan": check_plan,
}
