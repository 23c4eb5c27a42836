"""Prometheus' text format, as node-exporter's textfile collector reads it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Union

Number = Union[int, float]
Labels = Mapping[str, str]
MODE = 0o644  # node-exporter runs as another user


class Family(NamedTuple):
    """One metric: its name, `gauge` or `counter`, what it says, and samples of labels and a value.

    A sample without a value (None) is left out: a sensor that cannot be read is not 0.
    """

    name: str
    kind: str
    text: str
    samples: Sequence[tuple[Labels, Number | None]]


def label(value: str) -> str:
    """Escape a label's value as the format asks for: backslash, quote, new line."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(families: Iterable[Family]) -> str:
    """Return the text. A family without samples keeps its head, so that its absence is told from silence."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
        for labels, value in family.samples:
            if value is None:
                continue
            inside = ",".join(f'{name}="{label(text)}"' for name, text in labels.items())
            lines.append(f"{family.name}{{{inside}}} {_number(value)}" if inside else f"{family.name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: Number) -> str:
    # repr of a float keeps every digit; True is 1.
    return repr(value + 0)


def publish(path: Path, text: str) -> None:
    """Write by rename in the same folder: a reader sees the old text or the new one. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).chmod(MODE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
