"""The order in which a host is measured. Runs on the controller; what it asks of the host is `node.Node`.

For every step: all engines stopped, VRAM back at its baseline, one engine started, its cells measured, stopped again.
At the end, whatever happened, what ran before runs again and everything measured is on the controller.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..bench import api
from ..bench.settings import Measure, Task
from .definition import Step, units
from .forecast import Forecast, duration
from .node import Node, NodeLost, NodeProblem, Order
from .plan import cells

_DIRTY = "DIRTY_BASELINE"
_OK = "OK"
# Statuses that say more about the start than about the engine: tried again when the run is resumed.
REDO = Measure().redo
_ASK_EVERY = 30  # polls, after which the job is asked even if nothing seems to have changed
_ANSWERED = 30.0  # seconds a cell waits for a server that was ready
_NO_SERVER = 5.0  # seconds a cell waits for a server that is known not to have started


class Runner:
    """Measures one host."""

    def __init__(
        self,
        node: Node,
        order: Order,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet. Raises SettingsError for what llm_benchmark would refuse."""
        self._node = node
        self._order = order
        self._sleep = sleep
        self._clock = clock
        self._units = list(dict.fromkeys([*units(order.steps), *order.stop_units]))
        self._problems: list[str] = []
        self._statuses: dict[str, int] = {}
        self._forecast = Forecast()
        for step in order.steps:
            for cell in self._cells(step):
                self._what(step, cell)

    def plan(self) -> list[dict[str, Any]]:
        """Return what would be done, without asking the host."""
        return [
            {
                "engine": step.engine["name"],
                "unit": step.unit or None,
                "stops": [name for name in self._units if name != step.unit],
                "cells": [cell["id"] for cell in self._cells(step)],
            }
            for step in self._order.steps
        ]

    def measure(self) -> dict[str, Any]:
        """Measure every step, restore, collect. Return `{"changed", "cells", "statuses", "problems", "lost"}`.

        A host that went away and an engine that did not start are `problems`, not exceptions: the report is made of
        what there is, and the play fails after it.
        """
        lost = ""
        try:
            self._prepare()
            for step in self._order.steps:
                self._forecast.expect(self._cells(step))
            for step in self._order.steps:
                self._step(step)
        except NodeLost as exc:
            lost = str(exc)
            self._problems.append(f"the host went away: {lost}")
        except NodeProblem as exc:
            self._problems.append(str(exc))
        if not lost:
            self._finally("what ran before could not be started again", self._restore)
            self._finally("results could not be collected", self._node.collect)
        for problem in self._problems:
            self._node.say(f"PROBLEM {problem}")
        return {
            "changed": False,
            "cells": sum(self._statuses.values()),
            "statuses": self._statuses,
            "problems": self._problems,
            "lost": bool(lost),
        }

    def restore(self) -> dict[str, Any]:
        """Start again what ran before a run that was interrupted; measure nothing."""
        done = self._restore()
        return {"changed": bool(done["started"] or done["stopped"]), "problems": [], "lost": False, "cells": 0}

    def _prepare(self) -> None:
        pictures = self._node.pictures()
        question = {"files": {name: digest for name, (digest, dummy) in pictures.items()}, "units": self._units}
        found = self._node.node("prepare", **question)
        shown = ""
        while found.get("busy"):
            text = _progress(found["busy"])
            if text != shown:
                self._node.say(f"an earlier run still measures a cell, waiting for it: {text}")
                shown = text
            self._sleep(self._node.limits.poll)
            found = self._node.node("prepare", **question)
        for name in found["missing"]:
            self._node.put(name, pictures[name][1])

    def _step(self, step: Step) -> None:
        todo = self._cells(step)
        name = step.engine["name"]
        done = self._node.benchmark({**self._common(step), "action": "summary"})
        finished = {cell["cell_id"]: cell for cell in done.get("cells", [])}
        if all(self._is_finished(step, cell, finished) for cell in todo):
            self._node.say(f"{name}: all {len(todo)} cells were measured before")
            self._forecast.drop(todo)
            for record in finished.values():
                self._count(record)
            return
        up = self._up(step, name)
        for index, cell in enumerate(todo, 1):
            self._cell(step, cell, f"{name} {index}/{len(todo)} {cell['id']}", (index, len(todo)), up=up)
        self._down(step)

    def _up(self, step: Step, name: str) -> bool:
        """Bring the step's server up alone; whether it came."""
        stopped = self._node.node("stop", units=self._units)["stopped"] if self._units else []
        if stopped:
            self._node.say(f"{name}: stopped {', '.join(stopped)}")
        if step.unit:
            self._baseline(step, "before")
        try:
            server = {key: step.engine[key] for key in ("url", "kind", "api_key_file", "ca_file") if key in step.engine}
            self._node.say(f"{name}: {'starting ' + step.unit if step.unit else 'expecting ' + step.engine['url']}")
            began = self._node.node("start", unit=step.unit, timeout=self._node.limits.start, **server)
        except NodeProblem as exc:
            # Its cells are sent all the same and get the status that says so.
            self._problems.append(f"{name}: {exc}")
            self._node.say(f"{name}: not ready: {exc}")
            return False
        self._node.say(f"{name}: ready after {duration(began['seconds'])}")
        self._baseline(step, "loaded")
        return True

    def _down(self, step: Step) -> None:
        """Stop the server to see whether it gives its VRAM back. Without a card the next one's start does it."""
        if step.unit and self._watched(step):
            self._node.node("stop", units=self._units)
            self._baseline(step, "after")

    def _watched(self, step: Step) -> bool:
        return bool(self._common(step).get("gpu") != "none")

    def _baseline(self, step: Step, phase: str) -> None:
        """Record the VRAM; before and after an engine wait until what was stopped has given it back."""
        if not self._watched(step):
            return
        question = {**self._common(step), "action": "baseline", "phase": phase}
        deadline = self._clock() + self._node.limits.settle
        found = self._node.benchmark(question)
        while found.get("baseline", {}).get("status") == _DIRTY and self._clock() < deadline:
            self._sleep(min(3.0, self._node.limits.settle))
            found = self._node.benchmark(question)
        if found.get("baseline", {}).get("status") == _DIRTY:
            self._node.say(f"{step.engine['name']}: dirty VRAM baseline: {found['baseline'].get('reason')}")

    def _cell(self, step: Step, cell: dict[str, Any], title: str, place: tuple[int, int], *, up: bool) -> None:
        run = {**self._order.common["run"], "index": place[0], "of": place[1]}
        # It answered a moment ago, or is known not to: a server that dies is not waited for as if it were loading.
        measure = {"load_timeout": _ANSWERED if up else _NO_SERVER, **cell["measure"]}
        arguments = {key: cell[key] for key in ("task", "model")}
        job = self._node.begin({**self._common(step), **arguments, "action": "cell", "run": run, "measure": measure})
        begin = self._clock()
        found = self._wait(job, title)
        record, before = found["cell"], bool(found.get("resumed"))
        self._count(record)
        measured = record.get("measured") and not before
        self._forecast.done(cell, self._clock() - begin if measured else None)
        told = [f"{title} {'(measured before) ' if before else ''}{result(record)}", self._forecast.text()]
        self._node.say("; ".join(part for part in told if part))
        self._node.collect()

    def _count(self, record: dict[str, Any]) -> None:
        status = str(record["status"])
        self._statuses[status] = self._statuses.get(status, 0) + 1

    def _wait(self, job: dict[str, Any], title: str) -> dict[str, Any]:
        """Follow a detached cell, through breaks of the connection. Raises NodeLost after a long one."""
        shown, pause, looks, seen = "", 1.0, 0, self._clock()
        while True:
            self._sleep(pause)
            pause = min(pause * 1.5, self._node.limits.poll)
            looks += 1
            progress, head = self._node.peek(job)
            text = _progress(_read(progress))
            if text and text != shown:
                self._node.say(f"{title} {text}")
                shown = text
            if _runs(head) and looks % _ASK_EVERY:
                seen = self._clock()
                continue
            try:
                found = self._node.poll(job)
            except NodeLost:
                away = self._clock() - seen
                if away > self._node.limits.lost:
                    raise
                self._node.say(f"{title} the host does not answer since {away:.0f} s; the cell goes on there")
                continue
            if found is not None:
                return found
            seen = self._clock()

    def _common(self, step: Step) -> dict[str, Any]:
        return {**self._order.common, "engine": step.engine, **({"gpu": step.gpu} if step.gpu else {})}

    def _is_finished(self, step: Step, cell: dict[str, Any], finished: dict[str, dict[str, Any]]) -> bool:
        """Whether a cell needs no further try: it was this measurement, and it met its server."""
        cell_id, mark, redo = self._what(step, cell)
        known = finished.get(cell_id)
        return known is not None and known["fingerprint"] == mark and known["status"] not in redo

    def _what(self, step: Step, cell: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
        """A cell's id, the digest of what defines it, and the statuses that are tried again. Raises SettingsError."""
        call = api.call_of({**self._common(step), "model": cell["model"], "measure": cell["measure"]})
        task = Task.parse(cell["task"])
        return task.cell_id(call.model_key), call.mark(task), call.measure.redo

    def _cells(self, step: Step) -> list[dict[str, Any]]:
        return cells(step, self._order.suite["cells"], self._order.choice)

    def _restore(self) -> dict[str, Any]:
        if not self._units:
            return {"started": [], "stopped": []}
        done = self._node.node("restore")
        if done["started"]:
            self._node.say(f"started again: {', '.join(done['started'])}")
        return done

    def _finally(self, what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (NodeProblem, NodeLost) as exc:
            self._problems.append(f"{what}: {exc}")


def result(record: dict[str, Any]) -> str:
    """Return a finished cell as one line."""
    status = str(record["status"])
    words = [status if status == _OK else f"{status}: {record.get('reject_reason')}"]
    for name in ("prefill", "decode"):
        figure = (record.get("headline") or {}).get(name) or {}
        if figure.get("median") is not None:
            words.append(f"{name} {figure['median']:.1f} {figure['unit']}")
    words.append(f"{record.get('ok', 0)} of {record.get('measured', 0)} requests OK")
    return ", ".join(words)


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _progress(state: dict[str, Any]) -> str:
    if not state or state.get("phase") == "done":
        return ""
    count = f" {state['rep']}/{state['reps']}" if state.get("reps") else ""
    return f"{state.get('phase', '')}{count}{' ' + str(state['message']) if state.get('message') else ''}"


def _runs(head: str) -> bool:
    """Whether the beginning of an asynchronous job's file says that it has not finished."""
    state = _read(head)
    return bool(state) and "cell" not in state and not state.get("finished", False)
