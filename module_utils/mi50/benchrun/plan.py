"""What one host measures: every step's cells as arguments of llm_benchmark. Runs on the controller."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from .definition import Step

Arguments = dict[str, Any]
_ROOM_FOR_TEMPLATE = 512  # tokens: chat template, nonce and the task's own words beside the filler of a depth
_GO_ON = {"zh": "请接着上文继续写下去。", "en": "Continue the text above."}


class Choice(NamedTuple):
    """What an inventory may change about a suite's cells. 0 keeps the suite's own figure."""

    repeats: int = 0
    max_tokens: int = 0
    measure: Arguments = {}


def cells(step: Step, suite_cells: list[Arguments], choice: Choice) -> list[Arguments]:
    """Return `{"id", "task", "model", "measure"}` for the models of this step, in the suite's order."""
    found = []
    for cell in suite_cells:
        if cell["model"] not in step.models:
            continue
        task = _task(cell["task"], choice.max_tokens)
        model = _model(step.models[cell["model"]], cell, task)
        found.append({"id": cell["id"], "task": task, "model": model, "measure": _measure(cell["measure"], choice)})
    return found


def _task(task: Arguments, most: int) -> Arguments:
    task = copy.deepcopy(task)
    if not task.get("system"):
        task.pop("system", None)
    # A probe measures lengths; what the filler is followed by must only ask for more of it.
    task["prompt"] = task["prompt"] or _GO_ON.get(task["lang"], _GO_ON["en"])
    if most:
        for name in ("max_tokens", "min_tokens"):
            task[name] = min(task[name], most)
    return task


def _model(model: Arguments, cell: Arguments, task: Arguments) -> Arguments:
    """The model's arguments; a prompt that does not fit the context is said before it is sent."""
    found = dict(model)
    # The suite's facts are those of the suite's model; an engine that serves another one says so in its definition.
    roofline = found["roofline"] if "roofline" in found else cell["roofline"]
    found.pop("roofline", None)
    if roofline:
        found["roofline"] = roofline
    room, deepest = found.get("context"), max([task["context"], *task["lengths"]])
    needed = deepest + task["max_tokens"] + _ROOM_FOR_TEMPLATE
    if room and deepest and needed > room and "unsupported" not in found:
        found["unsupported"] = f"needs a context of {needed} tokens, this engine offers {room}"
    return found


def _measure(measure: Arguments, choice: Choice) -> Arguments:
    found = dict(measure)
    if choice.repeats:
        found.update(repeats=choice.repeats, max_repeats=max(choice.repeats, min(found["max_repeats"], choice.repeats)))
    return {**found, **choice.measure}
