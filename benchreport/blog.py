"""The blog's table: for each node its tasks as lines, for each engine prefill, decode, VRAM and the answers' checks."""

from __future__ import annotations

from collections.abc import Sequence

from .content import answers, text, with_formula
from .rows import Row
from .tables import NOT_RUN, Column, Table, Value, common_formula, gib

_WORDS = {
    "en": {
        "task": "Task",
        "model": "Model",
        "prefill": "prefill",
        "decode": "decode",
        "vram": "VRAM",
        "right": "answers right",
        "title": "Speed of the tasks on {node}",
        "not run": NOT_RUN,
    },
    "zh": {
        "task": "任务",
        "model": "模型",
        "prefill": "预填充",
        "decode": "解码",
        "vram": "显存",
        "right": "答案正确",
        "title": "{node} 各任务速度",
        "not run": "未运行",
    },
}
LANGUAGES = tuple(_WORDS)


def tables(rows: Sequence[Row], language: str = "en") -> list[Table]:
    """Return one table a node. Raises KeyError for a language there are no words for."""
    words = _WORDS[language]
    found = []
    for node in dict.fromkeys(row.node for row in rows):
        own = [row for row in rows if row.node == node and row.task["probe"] == "task"]
        if own:
            found.append(_table(node, own, words))
    return found


def _table(node: str, rows: Sequence[Row], words: dict[str, str]) -> Table:
    runs = len({row.run.run_id for row in rows}) > 1
    groups = list(dict.fromkeys(_engine(row, runs) for row in rows))
    columns = [Column(words["task"]), Column(words["model"])]
    for group in groups:
        own = [row for row in rows if _engine(row, runs) == group]
        formulas = {which: common_formula(own, which) for which in ("prefill", "decode")}
        columns += [
            *[Column(words[which], "tok/s", formulas[which], group) for which in formulas],
            Column(words["vram"], "GiB", "VRAM_fw@1", group),
            Column(words["right"], "", "", group),
        ]
    table = Table(
        f"blog-{node}",
        words["title"].format(node=node),
        columns,
        about="Speeds are those of answers of fixed length where there are any, else of those that end by themselves. "
        "Only answers that end by themselves are checked.",
    )
    # The same name with other weights is another line.
    lines = dict.fromkeys(_line(row) for row in rows)
    for task, lang, model, weights in lines:
        same = [row for row in rows if _line(row) == (task, lang, model, weights)]
        title = next((r.task["title"] for r in same if r.task["title"]), None)
        name = Value(title or task, detail=task if title and title != task else "")
        # The suite's key is what the task is meant for; what answered stands below it.
        answered = (same[0].model["requested"], same[0].model["format"], weights)
        line = [name, Value(model, detail=" · ".join(filter(None, answered)))]
        for group in groups:
            formulas = {c.title: c.formula for c in columns if c.group == group}
            line += _figures([row for row in same if _engine(row, runs) == group], words, formulas)
        table.rows.append(line)
    return table


def _line(row: Row) -> tuple[str, str, str, str]:
    return str(row.task["id"]), str(row.task["lang"]), str(row.model["key"]), row.weights


def _engine(row: Row, runs: bool) -> str:
    version = row.run.head.get("framework", {}).get("version")
    name = f"{row.engine} {version}" if version else row.engine
    return f"{name} ({row.run.run_id})" if runs else name


def _figures(rows: Sequence[Row], words: dict[str, str], formulas: dict[str, str]) -> list[Value]:
    """Prefill, decode, VRAM, checks of one task on one engine, taken from its modes."""
    if not rows:
        return [Value(words["not run"], "none")] * 4
    by_mode = {row.task["mode"]: row for row in rows}
    natural = by_mode.get("natural")
    speed = by_mode.get("fixed") or rows[0]
    checked = answers(natural) if natural else text(None)
    if natural and not natural.ok:
        # An answer that never came must not look like one that nobody checked.
        checked = Value(natural.status, "status", note=natural.cell["reject_reason"] or "")
    taken = max((row.cell["vram"]["framework"] or 0 for row in rows if row.cell["vram"]), default=0)
    prefill = with_formula(speed, "prefill", formulas[words["prefill"]])
    # Both fail for one reason, which is told once.
    decode = with_formula(speed, "decode", formulas[words["decode"]], reason=speed.ok)
    return [prefill, decode, gib(taken or None), checked]
