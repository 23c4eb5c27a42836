"""Text helpers of the answer checks: numbers, normal forms, fenced blocks, edit distance."""

from __future__ import annotations

import re
import unicodedata

_SHOWN = 60  # characters of somebody's text worth printing
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_OPEN_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n", re.MULTILINE)
_FRACTION = r"\\[dt]?frac\{?\s*(-?\d+)\s*\}?\{?\s*(\d+)\s*\}?"
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?")
# The last of these lines is where the final answer stands, when there is one.
_MARKER = re.compile(r"(?:最终答案|答案|final answer|answer)\W{0,12}?(?:是|为|is)?\W{0,12}?[::]?", re.IGNORECASE)
_LABEL = re.compile(r"(?<![\w.])[A-Za-z]\s*[_^]?\s*\{?\d?\}?\s*(?=[=≈])")


def shorten(text: str) -> str:
    """The beginning of a text, for a message."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def normalise(text: str) -> str:
    """Compatibility form, lower case, single blanks, plain minus and quotes."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").replace("\u2019", "'")
    return " ".join(text.split())


def letters(text: str) -> str:
    """What reading a text is about: letters and digits of any script, without blanks, marks and case."""
    return "".join(c for c in normalise(text) if unicodedata.category(c)[0] in "LN")


def fenced(text: str, language: str = "") -> str | None:
    """The longest fenced block, of that language when there is one; an unclosed block counts to the end of the text."""
    blocks = [(m.group(2).lower(), m.group(3)) for m in _FENCE.finditer(text)]
    rest = _FENCE.sub("", text)
    cut = _OPEN_FENCE.search(rest)
    if cut:
        blocks.append((cut.group(1).lower(), rest[cut.end() :]))
    chosen = [body for name, body in blocks if name == language] if language else []
    return max(chosen or [body for dummy, body in blocks], key=len, default=None)


def parse_number(text: str) -> float:
    """A number or a fraction. Raises ValueError when it is neither."""
    above, dummy, below = text.replace(",", "").replace(" ", "").partition("/")
    if not below:
        return float(above)
    if float(below) == 0:
        raise ValueError(f"{text!r}: division by zero")
    return float(above) / float(below)


def last_numbers(text: str, count: int) -> list[float]:
    """Up to `count` numbers of the final answer: of \\boxed{}, else after the last "answer:", else the last ones."""
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    text = re.sub(_FRACTION, r"\1/\2", text)
    boxed = _boxed(text)
    if boxed:
        # `\boxed{2}, \boxed{3}` for two values: as many boxes as it takes, from the end.
        found = [value for content in boxed for value in _numbers(content)]
        return found[-count:]
    markers = list(_MARKER.finditer(text))
    if markers:
        found = _numbers(text[markers[-1].end() :])
        if len(found) >= count:
            return found[:count]
    return _numbers(text)[-count:]


def _boxed(text: str) -> list[str]:
    """Contents of the \\boxed{} groups, whose braces may nest."""
    contents = []
    for match in re.finditer(r"\\boxed\s*\{", text):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                contents.append(text[match.end() : end])
                break
    return contents


def _numbers(text: str) -> list[float]:
    text = _LABEL.sub(" ", text.replace("*", " "))
    found = []
    for match in _NUMBER.finditer(text):
        word = match.group()
        # `10-3` is a subtraction and `CO2` a name; neither sign nor digit belongs to a number there.
        before = text[match.start() - 1] if match.start() else " "
        if word[0] in "+-" and (before.isalnum() or before == ")"):
            word = word[1:]
        elif before.isascii() and before.isalpha():
            continue
        try:
            found.append(parse_number(word))
        except ValueError:
            continue
    return found


def edit_distance_within(pattern: str, text: str) -> int:
    """Least edit distance of `pattern` to any stretch of `text`.

    Myers' bit-vector algorithm (J. ACM 46, 1999) with one Python integer as the vector: a few operations a character.
    """
    length = len(pattern)
    if not length:
        return 0
    last, full = 1 << (length - 1), (1 << length) - 1
    positions: dict[str, int] = {}
    for index, char in enumerate(pattern):
        positions[char] = positions.get(char, 0) | (1 << index)
    plus, minus, score, best = full, 0, length, length
    for char in text:
        equal = positions.get(char, 0)
        down = equal | minus
        across = (((equal & plus) + plus) ^ plus) | equal
        up_plus, up_minus = minus | (full & ~(across | plus)), plus & across
        score += 1 if up_plus & last else (-1 if up_minus & last else 0)
        best = min(best, score)
        up_plus, up_minus = (up_plus << 1) & full, (up_minus << 1) & full
        plus, minus = up_minus | (full & ~(down | up_plus)), up_plus & down
    return best
