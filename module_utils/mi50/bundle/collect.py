"""Read what a bundle holds from the node, and scrub it there: nothing else leaves the node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..amdgpu.inventory import collect as inventory
from . import sources
from .scrub import Known, Scrubber

# Runs a command with a time limit in seconds; returns its exit code and its output, both streams. Missing: (127, "").
Runner = Callable[[list[str], int], tuple[int, str]]
_RECORD = "record.json"


class Roots(NamedTuple):
    """Where to look. `root` stands for / in everything that is not sysfs, proc or dev."""

    root: Path = Path("/")
    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


class Bundle(NamedTuple):
    """`files`: name to text, scrubbed. `absent`: names there was nothing for, with the reason."""

    files: dict[str, str]
    absent: dict[str, str]
    counts: dict[str, int]


def collect(roots: Roots, known: Known, run: Runner) -> Bundle:
    """Return the bundle of this node. Never raises for what is missing: that is a finding, too."""
    scrubber = Scrubber(known)
    raw: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, patterns in sources.FILES.items():
        parts = list(_files(roots, patterns))
        if parts:
            # Each by itself: one that is JSON is scrubbed as JSON, whatever stands beside it.
            raw[name] = (
                _joined([(path, clean(text, scrubber)) for path, text in parts]) if len(parts) > 1 else parts[0][1]
            )
        else:
            absent[name] = "no such file"
    for name, command in sources.COMMANDS.items():
        code, said = run(list(command), sources.COMMAND_S)
        if code == 127:
            absent[name] = f"{command[0]} is not there"
        else:
            raw[name] = _end(said) + (f"\n[exit code {code}]\n" if code else "")
    raw["gpus.json"] = json.dumps(inventory(roots.sysfs, roots.proc, roots.dev), indent=1, default=str)
    if "logs/kernel" in raw:
        wanted = re.compile(sources.KERNEL, re.IGNORECASE)
        raw["logs/kernel"] = "".join(f"{line}\n" for line in raw["logs/kernel"].splitlines() if wanted.search(line))
    if _RECORD in raw:
        raw[_RECORD] = _runs(raw[_RECORD])
    files = {name: clean(text, scrubber) for name, text in sorted(raw.items())}
    return Bundle(files, absent, scrubber.counts)


def clean(text: str, scrubber: Scrubber) -> str:
    """Scrub a text; one that is JSON as what it is, since a secret can stand lines below its name."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(scrubber.data(json.loads(text)), indent=1) + "\n"
        except ValueError:
            pass
    return scrubber.text(text)


def _files(roots: Roots, patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        in_proc = pattern.startswith("proc:")
        top = roots.proc if in_proc else roots.root
        for path in sorted(top.glob(pattern.removeprefix("proc:"))):
            try:
                text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
            except OSError as error:
                text = f"[{error.strerror}]\n"
            if text is not None:
                yield f"/{'proc/' if in_proc else ''}{path.relative_to(top)}", _end(_first(path, text))


def _first(path: Path, text: str) -> str:
    """Of a processor's description one core's is enough."""
    return text.partition("\n\n")[0] + "\n" if path.name == "cpuinfo" else text


def _joined(parts: list[tuple[str, str]]) -> str:
    return "\n".join(f"==> {name} <==\n{text}" for name, text in parts)


def _end(text: str) -> str:
    if len(text) <= sources.FILE_BYTES:
        return text
    # From the next whole line on: half a line may hold half a secret, which no pattern knows.
    return "[…]\n" + text[-sources.FILE_BYTES :].partition("\n")[2]


def _runs(text: str) -> str:
    """Of the node's record what ran and what came; who is in which group is nobody's business."""
    try:
        record: Mapping[str, Any] = json.loads(text)
    except ValueError:
        return "[not readable]\n"
    return json.dumps({name: record.get(name) for name in ("format", "runs", "packages", "groups")}, indent=1)
