"""Checks of answers that are documents: a web page, a plan of tasks in JSON."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from .check_text import fenced, normalise

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# Elements whose end tag the HTML standard lets an author leave out.
_OPTIONAL_END = {"p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "colgroup"}
_EXTERNAL = re.compile(r"(?:https?:)?//[^\s\"'<>]+", re.IGNORECASE)
_LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "video": "src", "audio": "src"}


class _Page(HTMLParser):
    """Collects elements, what stays open, text and what would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.stray: list[str] = []
        self.crossed: list[str] = []
        self.external: list[str] = []
        self.contents: dict[str, str] = {}
        self.doctype = False

    def handle_decl(self, decl: str) -> None:
        self.doctype |= decl.lower().startswith("doctype html")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        address = values.get(_LOADING.get(tag, ""), "")
        if _EXTERNAL.match(address):
            self.external.append(address)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID and self.open:
            self.open.pop()  # <path/> inside svg

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if tag not in self.open:
            self.stray.append(tag)
            return
        while (last := self.open.pop()) != tag:
            if last not in _OPTIONAL_END:
                self.crossed.append(last)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.contents[self.open[-1]] = self.contents.get(self.open[-1], "") + data

    def unclosed(self) -> list[str]:
        """Elements still open at the end that have to be closed."""
        return [*self.crossed, *(tag for tag in self.open if tag not in _OPTIONAL_END)]


def check_html(check: dict[str, Any], answer: str) -> tuple[bool, str]:
    """A whole page that parses, closes what it opens, loads nothing from elsewhere and has what the task asks for.

    `elements`: list of `{"tag", "attributes"?, "at_least"?}`; `text`: words of the page; `script`: words of its code.
    """
    body = fenced(answer, "html") or answer
    page = _Page()
    page.feed(body)
    page.close()
    problems = []
    if not page.doctype:
        problems.append("no <!DOCTYPE html>")
    if not re.search(r"</html\s*>", body, re.IGNORECASE):
        problems.append("no </html>: cut off")
    if page.unclosed():
        problems.append(f"never closed: {', '.join(page.unclosed()[:5])}")
    if page.stray:
        problems.append(f"closed but never opened: {', '.join(page.stray[:5])}")
    if page.external:
        problems.append(f"loads {page.external[0]}")
    problems += [_missing(page, wanted) for wanted in check.get("elements", [])]
    seen = normalise(" ".join(text for tag, text in page.contents.items() if tag not in ("script", "style")))
    problems += [f"text {word!r} missing" for word in check.get("text", []) if normalise(word) not in seen]
    code = page.contents.get("script", "")
    problems += [f"script has no {word!r}" for word in check.get("script", []) if not re.search(word, code)]
    problems = [problem for problem in problems if problem]
    return not problems, "; ".join(problems) or f"whole page, {len(page.elements)} elements"


def _missing(page: _Page, wanted: dict[str, Any]) -> str:
    """What is missing of one wanted element, or an empty string."""
    attributes = wanted.get("attributes", {})
    tags = wanted["tag"] if isinstance(wanted["tag"], list) else [wanted["tag"]]
    found = sum(
        1
        for tag, values in page.elements
        if tag in tags and all(re.fullmatch(value, values.get(name, ""), re.I) for name, value in attributes.items())
    )
    least = int(wanted.get("at_least", 1))
    asked = "/".join(tags) + "".join(f"[{name}={value}]" for name, value in attributes.items())
    return "" if found >= least else f"{found} of {least} <{asked}>"


def check_plan(check: dict[str, Any], answer: str) -> tuple[bool, str]:
    """A JSON plan: unique ids, known and acyclic dependencies, and a critical path within the time.

    Expects `{"tasks": [{"id", "title", "days", "depends_on": []}]}`; `min_tasks`, `max_tasks`, `max_days`, `topics`
    (groups of words of one meaning that the titles must cover), `order` (pairs of topics: first before second).
    """
    try:
        tasks = _tasks(answer)
        finish = _finish_days(tasks)
    except ValueError as exc:
        return False, str(exc)
    problems = []
    low, high = int(check.get("min_tasks", 1)), int(check.get("max_tasks", 1000))
    if not low <= len(tasks) <= high:
        problems.append(f"{len(tasks)} tasks, {low} to {high} wanted")
    longest = max(finish.values())
    if longest > float(check.get("max_days", longest)):
        problems.append(f"takes {longest:g} days, {check['max_days']} at most")
    topics = [group if isinstance(group, list) else [group] for group in check.get("topics", [])]
    covered = [_about(tasks, group) for group in topics]
    problems += [f"no task about {group[0]!r}" for group, about in zip(topics, covered) if not about]
    for first, second in check.get("order", []):
        if covered[first] and covered[second] and not _precedes(tasks, covered[first], covered[second]):
            problems.append(f"{topics[second][0]!r} does not depend on {topics[first][0]!r}")
    return not problems, "; ".join(problems) or f"{len(tasks)} tasks, {longest:g} days"


def _tasks(answer: str) -> dict[str, dict[str, Any]]:
    """The tasks by id. Raises ValueError saying what is wrong."""
    source = fenced(answer, "json") or answer[answer.find("{") : answer.rfind("}") + 1]
    try:
        document = json.loads(source)
    except ValueError as exc:
        raise ValueError(f"no valid JSON: {exc}") from exc
    listed = document.get("tasks") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(task, dict) for task in listed):
        raise ValueError('no list "tasks" of objects')
    tasks: dict[str, dict[str, Any]] = {}
    for position, task in enumerate(listed, 1):
        days, depends = task.get("days"), task.get("depends_on")
        if not isinstance(task.get("title"), str) or not task["title"].strip():
            raise ValueError(f"task {position} has no title")
        if isinstance(days, bool) or not isinstance(days, (int, float)) or days <= 0:
            raise ValueError(f"task {position}: days is {days!r}, not a positive number")
        if not isinstance(depends, list):
            raise ValueError(f"task {position}: depends_on is no list")
        name = str(task.get("id"))
        if "id" not in task or name in tasks:
            raise ValueError(f"task {position}: id {name!r} is missing or used twice")
        tasks[name] = {"title": task["title"], "days": float(days), "depends_on": [str(other) for other in depends]}
    return tasks


def _finish_days(tasks: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Earliest end of each task. Raises ValueError for an unknown dependency or a circle."""
    finish: dict[str, float] = {}
    waiting = dict(tasks)
    for name, task in tasks.items():
        unknown = [other for other in task["depends_on"] if other not in tasks]
        if unknown:
            raise ValueError(f"task {name} depends on {unknown[0]}, which does not exist")
    while waiting:
        ready = [name for name, task in waiting.items() if all(other in finish for other in task["depends_on"])]
        if not ready:
            raise ValueError(f"tasks depend on each other in a circle: {', '.join(sorted(waiting))}")
        for name in ready:
            task = waiting.pop(name)
            finish[name] = task["days"] + max((finish[other] for other in task["depends_on"]), default=0.0)
    return finish


def _about(tasks: dict[str, dict[str, Any]], words: list[str]) -> set[str]:
    return {name for name, task in tasks.items() if any(normalise(word) in normalise(task["title"]) for word in words)}


def _precedes(tasks: dict[str, dict[str, Any]], first: set[str], second: set[str]) -> bool:
    """Whether some task of `second` comes, directly or not, after one of `first` (or is one)."""
    seen, todo = set(), list(second)
    while todo:
        name = todo.pop()
        if name in first:
            return True
        if name not in seen:
            seen.add(name)
            todo += tasks[name]["depends_on"]
    return False
