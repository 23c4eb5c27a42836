"""The middle of a transaction of apt: known by apt's history, dpkg's status and its journal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab import halfway_node

BEGAN = time.mktime((2026, 11, 23, 9, 0, 0, 0, 0, -1))
REMOVAL = "Purge: rocm-core:amd64 (6.4.3), rocblas:amd64 (4), hip:amd64 (1), rocm:amd64 (6)\n"
GOES = dict.fromkeys(("rocm-core", "rocblas", "hip", "rocm"))


def history(changes: str, *, at: str = "09:05:00", end: str = "") -> str:
    before = "\nStart-Date: 2026-11-23  08:00:00\nPurge: rocm-core:amd64 (6.4.3)\n\n"
    return f"{before}\nStart-Date: 2026-11-23  {at}\nCommandline: apt-get purge\n{changes}{end}"


def node(tmp_path: Path, status: dict[str, str], journal: dict[str, str] | None = None) -> Path:
    """A tree with dpkg's status, `name: words of its status`, and its journal, a file a step."""
    updates = tmp_path / halfway_node.UPDATES
    updates.mkdir(parents=True)
    stanzas = [f"Package: {name}\nStatus: {words}\nVersion: 1\n" for name, words in status.items()]
    (tmp_path / halfway_node.STATUS).write_text("\n".join(stanzas))
    for number, (name, words) in enumerate((journal or {}).items()):
        (updates / f"{number:04}").write_text(f"Package: {name}\nStatus: {words}\n")
    (updates / "tmp.i").write_text("Package: rocm\nStatus: purge ok not-installed\n")
    return tmp_path


def test_what_apt_is_about() -> None:
    assert halfway_node.under_way(history(REMOVAL), BEGAN, "rocm-core") == GOES
    changes = "Install: new:amd64 (3, automatic)\nUpgrade: rocm-core:amd64 (6.3.3, 6.4.3)\nRemove: old:amd64 (1)\n"
    found = halfway_node.under_way(history(changes), BEGAN, "rocm-core")
    assert found == {"new": "3", "rocm-core": "6.4.3", "old": None}


@pytest.mark.parametrize(
    ("text", "about"),
    [
        pytest.param("", "rocm-core", id="nothing"),
        pytest.param(history(REMOVAL, at="08:59:00"), "rocm-core", id="before-us"),
        pytest.param(history(REMOVAL), "git", id="about-something-else"),
        pytest.param(history(REMOVAL, end="End-Date: 2026-11-23  09:06:00\n"), "rocm-core", id="at-its-end"),
    ],
)
def test_what_is_nobodys_middle(text: str, about: str) -> None:
    assert halfway_node.under_way(text, BEGAN, about) == {}


def test_the_journal_is_newer_than_the_status(tmp_path: Path) -> None:
    """`tmp.i` is a step that is being written: not yet one."""
    installed = dict.fromkeys(GOES, "purge ok installed")
    steps = {
        "rocm-core": "purge ok half-installed",
        "rocblas": "purge ok not-installed",
        "hip": "purge ok config-files",
    }
    found = halfway_node.progress(GOES, halfway_node.states(node(tmp_path, installed, steps)))
    assert found == {"done": ["rocblas", "hip"], "left": ["rocm"], "between": ["rocm-core"]}


def test_what_comes_is_done_in_its_version_alone(tmp_path: Path) -> None:
    wanted = {"a": "1", "b": "2", "c": "1", "d": "2", "e": "1"}
    status = {
        "a": "install ok unpacked",
        "b": "install ok installed",
        "c": "install ok half-installed",
        "d": "install ok half-configured",
    }
    found = halfway_node.progress(wanted, halfway_node.states(node(tmp_path, status)))
    assert found == {"done": ["a"], "left": ["b", "e"], "between": ["c", "d"]}


@pytest.mark.parametrize(
    ("done", "left", "between", "expected"),
    [(0, 9, 1, False), (2, 7, 1, False), (3, 7, 0, True), (6, 3, 1, True), (7, 2, 1, False), (10, 0, 0, False)],
)
def test_the_middle_has_enough_on_both_sides(done: int, left: int, between: int, expected: bool) -> None:
    found: halfway_node.Found = {"done": ["x"] * done, "left": ["x"] * left, "between": ["x"] * between}
    assert halfway_node.halfway(found) is expected
