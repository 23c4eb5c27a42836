"""The HTML page: one file that needs nothing else, neither network nor JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from .tables import Table

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(
    title: str,
    subtitle: str,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    before: Sequence[Table],
    plots: Sequence[tuple[str, str]],
    after: Sequence[Table],
    files: int,
) -> str:
    """Return the page; `before` and `after` are the tables above and below the plots."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        # What servers and models say ends up in here: all of it is text.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        title=title,
        subtitle=subtitle,
        facts=facts,
        notes=notes,
        before=list(before),
        after=list(after),
        plots=plots,
        files=files,
        numeric=_numeric,
        groups=_groups,
        group_starts=_group_starts,
    )


def _numeric(table: Table) -> set[int]:
    """Columns with figures in them, which stand at the right."""
    return {i for i, _ in enumerate(table.columns) if any(line[i].kind == "number" for line in table.rows)}


def _groups(table: Table) -> list[tuple[str, int]]:
    """Runs of columns of one group, with their widths."""
    found: list[tuple[str, int]] = []
    for column in table.columns:
        if found and found[-1][0] == column.group:
            found[-1] = (column.group, found[-1][1] + 1)
        else:
            found.append((column.group, 1))
    return found


def _group_starts(table: Table) -> set[int]:
    """Columns with which a group begins; empty for a table without groups."""
    groups = [column.group for column in table.columns]
    return {i for i, group in enumerate(groups) if group and (i == 0 or groups[i - 1] != group)}
