"""What a build's own output says about how far it is: ninja, make under CMake, pip, git. Also the line people see."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

_NINJA = re.compile(r"^\s*\[(\d+)/(\d+)\]\s")
_MAKE = re.compile(r"^\s*\[\s*(\d{1,3})%\]\s")
_GIT = re.compile(r"^\s*(?:remote: )?(Counting|Compressing|Receiving|Resolving|Updating)[a-z ]*:\s+(\d{1,3})%")
_PIP = re.compile(
    r"^\s*(Collecting|Downloading|Installing collected packages|Building wheel[s]?|Saved|Using cached)\b\W*(.*)"
)
_CMAKE = re.compile(r"^\s*-- (Configuring done|Generating done|Build files have been written|[A-Z][a-z]+ .*)")


class Point(NamedTuple):
    """One sign of progress. `total` 0: no count is known, `text` says what is done."""

    done: int
    total: int
    text: str


def read(line: str) -> Point | None:
    """Return what a line says, or None."""
    found = _NINJA.match(line)
    if found:
        return Point(int(found[1]), int(found[2]), "")
    found = _MAKE.match(line) or None
    if found:
        return Point(int(found[1]), 100, "")
    found = _GIT.match(line)
    if found:
        return Point(int(found[2]), 100, found[1].lower())
    found = _PIP.match(line)
    if found:
        name = re.split(r"[\s(<>=;]", found[2].strip().rsplit("/", 1)[-1], maxsplit=1)[0]
        return Point(0, 0, f"{found[1].lower()} {name}".strip())
    found = _CMAKE.match(line)
    return Point(0, 0, "cmake: " + found[1][:60].lower()) if found else None


def line(name: str, state: Mapping[str, Any], now: float | None = None) -> str:
    """Return the line people see: `triton 812/2210 37 % 06:12`."""
    step = str(state.get("step", ""))
    done, total = int(state.get("done") or 0), int(state.get("total") or 0)
    words = [name] if step == "compile" and total else [name, step]
    if total:
        percent = 100 if done >= total else min(99, round(done * 100 / total))
        words.append(f"{percent} %" if total == 100 else f"{done}/{total} {percent} %")
    if state.get("text") and not (total and step == "compile"):
        words.append(str(state["text"]))
    words.append(clock((time.time() if now is None else now) - float(state.get("started") or 0)))
    return " ".join(word for word in words if word)


def clock(seconds: float) -> str:
    """Return `06:12`, with hours `1:06:12`."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    text = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{text}" if hours else text
