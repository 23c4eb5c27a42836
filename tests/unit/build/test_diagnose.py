"""Failures as compilers, git, pip and systemd word them; and progress as ninja, pip and git do."""

from __future__ import annotations

import pytest
from mi50.build.diagnose import HOST, SOURCE, diagnose, excerpt
from mi50.build.inside import progress

EXITED = {"Result": "exit-code", "ExecMainStatus": "1"}
COMMIT = "3474774156c3abab3f01c64b44c5d83155ea4189"
# What the programs themselves say, as seen with Debian 12's and Ubuntu 24.04's versions.
CASES = [
    ("memory", HOST, "c++: fatal error: Killed signal terminated program cc1plus"),
    ("memory", HOST, "cc1plus: out of memory allocating 65536 bytes after a total of 1073741824 bytes"),
    ("memory", HOST, "FAILED: python ended with signal 9"),
    ("disk", HOST, "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"),
    ("disk", HOST, "/usr/bin/ld: final link failed: No space left on device"),
    ("commit", SOURCE, f"fatal: remote error: upload-pack: not our ref {COMMIT}"),
    ("commit", SOURCE, f"fatal: couldn't find remote ref {COMMIT}"),
    ("commit", SOURCE, f"unknown commit {COMMIT}: the repository has no such commit"),
    ("network", HOST, "fatal: unable to access 'https://github.com/x/': Could not resolve host: github.com"),
    ("network", HOST, "fatal: unable to access 'http://127.0.0.1:9/': Failed to connect to 127.0.0.1 port 9"),
    ("network", HOST, "https://host/llvm.tar.gz: <urlopen error [Errno -3] Temporary failure in name resolution>"),
    ("network", HOST, "error: The requested URL returned error: 503"),
    ("address", SOURCE, "fatal: repository 'http://mirror/github/x/' not found"),
    ("address", SOURCE, "https://host/llvm.tar.gz: HTTP Error 404: Not Found"),
    ("digest", SOURCE, "sha256 mismatch: https://host/llvm.tar.gz has aa, the stack says bb"),
    ("patch", SOURCE, "error: lib/Target.cpp: patch does not apply"),
    ("requirement", SOURCE, "ERROR: No matching distribution found for cmake==3.31.99"),
    ("compiler", HOST, "  No CMAKE_CXX_COMPILER could be found."),
    ("headers", HOST, "/src/main.cpp:1:10: fatal error: Python.h: No such file or directory"),
    ("venv", HOST, "The virtual environment was not created successfully because ensurepip is not available."),
    ("artifact", SOURCE, "the wheel is named triton 3.5.0+git34747741; the recipe says triton 3.5.0+gfx906"),
    ("compile", SOURCE, "/src/lib/Target.cpp:51:24: error: expected ',' or '...' before '{' token"),
]


@pytest.mark.parametrize(("name", "kind", "line"), CASES, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(CASES)])
def test_a_cause_is_named_with_its_line_and_the_way_out(name: str, kind: str, line: str) -> None:
    log = ["[1/5] Building CXX object", line, "ninja: build stopped: subcommand failed.", "FAILED: python ended with 1"]
    cause = diagnose(EXITED, {"step": "compile"}, log)
    assert (cause.name, cause.kind, cause.at) == (name, kind, 1)
    assert " ".join(line.split()).removeprefix("FAILED: ")[:80] in cause.text
    assert cause.remedy


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ({"Result": "oom-kill"}, "memory"),
        ({"Result": "timeout"}, "timeout"),
        ({"Result": "signal"}, "killed"),
        ({"Result": "core-dump"}, "killed"),
        ({"Result": "exit-code", "ExecMainStatus": "226"}, "sandbox"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_systemd_knows(unit: dict[str, str], name: str) -> None:
    cause = diagnose(unit, {}, ["[7/9] Building CXX object x.o"])
    assert (cause.name, cause.kind) == (name, HOST)


def test_a_failed_test_is_not_called_a_compile_error() -> None:
    assert diagnose(EXITED, {"step": "test"}, ["AssertionError"]).name == "test"


def test_what_broke_first_is_shown() -> None:
    log = [f"[{n}/99] Building" for n in range(50)] + ["x.cpp:1: error: no"] + [f"noise {n}" for n in range(80)]
    at = diagnose(EXITED, {"step": "compile"}, log).at
    shown = excerpt(log, at)
    assert shown[3] == "x.cpp:1: error: no"
    assert len(shown) == 25
    assert excerpt(log, -1) == log[-25:]


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("  [812/2210] Building CXX object lib/x.cpp.o", (812, 2210, "")),
        ("[ 37%] Building CXX object lib/x.cpp.o", (37, 100, "")),
        ("Receiving objects:  45% (9/20), 1.00 MiB | 2.00 MiB/s", (45, 100, "receiving")),
        ("remote: Compressing objects: 100% (9/9), done.", (100, 100, "compressing")),
        ("Collecting cmake==3.31.6", (0, 0, "collecting cmake")),
        (
            "  Downloading http://host/p/cmake-3.31.6-py3-none-any.whl (27.8 MB)",
            (0, 0, "downloading cmake-3.31.6-py3-none-any.whl"),
        ),
        ("-- Configuring done (0.6s)", (0, 0, "cmake: configuring done")),
    ],
    ids=["ninja", "make", "git", "git remote", "pip", "pip file", "cmake"],
)
def test_progress_is_read(line: str, point: tuple[int, int, str]) -> None:
    assert progress.read(line) == point


@pytest.mark.parametrize("line", ["", "warning: [1/2", "[12/", "test [1/2] in text", "100%"])
def test_other_lines_are_no_progress(line: str) -> None:
    assert progress.read(line) is None


def test_the_line_people_see() -> None:
    state = {"step": "compile", "done": 812, "total": 2210, "started": 1000.0, "text": ""}
    assert progress.line("triton", state, 1372.0) == "triton 812/2210 37 % 06:12"
    state = {"step": "source", "done": 45, "total": 100, "started": 0.0, "text": "receiving"}
    assert progress.line("triton", state, 3723.4) == "triton source 45 % receiving 1:02:03"
    assert progress.line("triton", {"step": "requirements", "started": 5.0, "text": "collecting cmake"}, 6.0) == (
        "triton requirements collecting cmake 00:01"
    )
