"""Why a build failed, from the end of its log and from what systemd says: one cause, in words, with the way out.

A cause of kind `host` may be gone on another host, so the next candidate is tried; one of kind `source` would fail
everywhere, and is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

HOST, SOURCE = "host", "source"


class Cause(NamedTuple):
    """`name` is stable, for tests and tables; `text` and `remedy` are for people; `at` is the line of the log."""

    name: str
    kind: str
    text: str
    remedy: str
    at: int = -1


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    cause: Cause


def _rule(pattern: str, name: str, kind: str, text: str, remedy: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), Cause(name, kind, text, remedy))


_MEMORY = (
    "lower build_once_jobs, free memory on the host (stop its engines), or name a host with more in build_once_hosts"
)
# The first that matches wins: what broke first is said before what followed from it.
_RULES = (
    _rule(
        r"no space left on device|disk quota exceeded",
        "disk",
        HOST,
        "the disk is full",
        "make room where build_once_work_dir lies, or set it to a larger file system",
    ),
    _rule(
        r"killed signal terminated program|fatal error: killed|virtual memory exhausted|std::bad_alloc"
        r"|cannot allocate memory|out of memory|internal compiler error: killed|ended with (signal 9|exit code 137)\b",
        "memory",
        HOST,
        "it ran out of memory",
        _MEMORY,
    ),
    _rule(
        r"remote ref [0-9a-f]{7,40}|not our ref|reference is not a tree|unable to find [0-9a-f]{40}"
        r"|unknown commit|bad object [0-9a-f]{7,40}",
        "commit",
        SOURCE,
        "the repository has no such commit",
        "correct the commit (stacks/<stack>.yml, or build_once_overrides)",
    ),
    _rule(
        r"sha256 mismatch",
        "digest",
        SOURCE,
        "a download is not what was pinned",
        "somebody changed it upstream or on the way: compare with a second source before changing the sha256",
    ),
    _rule(
        r"could not resolve host|temporary failure in name resolution|name or service not known|connection refused"
        r"|connection timed out|failed to connect|network is unreachable|no route to host|connection reset"
        r"|read timed out|<url[a-z]+ error|newconnectionerror|http error 5\d\d"
        r"|the requested url returned error: 5\d\d|early eof",
        "network",
        HOST,
        "the network or the server did not answer",
        "check the address (mi50_url_github, mi50_url_pypi) and mi50_https_proxy from that host",
    ),
    _rule(
        r"repository not found|repository '[^']*' not found|does not appear to be a git repository"
        r"|requested url returned error: 40[0-9]|http error 40[0-9]",
        "address",
        SOURCE,
        "the server has nothing at that address",
        "check mi50_url_github and the artifact's path in the stack",
    ),
    _rule(
        r"patch does not apply|patch failed|corrupt patch",
        "patch",
        SOURCE,
        "a patch does not fit the commit",
        "renew the patch or remove it from the recipe",
    ),
    _rule(
        r"ensurepip is not available|no module named '?venv|no module named '?ensurepip",
        "venv",
        HOST,
        "python3-venv is not installed",
        "add it to packages of the recipe",
    ),
    _rule(
        r"no matching distribution found|could not find a version that satisfies",
        "requirement",
        SOURCE,
        "the package index has no such requirement",
        "check mi50_url_pypi and the pins under requirements in the recipe",
    ),
    _rule(
        r"no cmake_cxx_compiler could be found|cmake_c(xx)?_compiler not set|could not find compiler"
        r"|unable to find a (c|c\+\+) compiler|command '[^']*g(cc|\+\+)[^']*' (failed: no such file|not found)"
        r"|no such file or directory: '[^']*(gcc|g\+\+|cc|c\+\+|hipcc)'",
        "compiler",
        HOST,
        "there is no compiler",
        "add build-essential to packages of the recipe",
    ),
    _rule(
        r"fatal error: [\w./+-]+\.(h|hpp): no such file",
        "headers",
        HOST,
        "a header file is missing",
        "add the package with that header (python3-dev, zlib1g-dev …) to packages of the recipe",
    ),
    _rule(
        r"wheel is named|wheels instead of one|no wheel was made|holds no wheel",
        "artifact",
        SOURCE,
        "the build made something else than the recipe says",
        "correct version or produces in the recipe",
    ),
)
_RESULTS = {
    "oom-kill": Cause("memory", HOST, "the kernel killed it: out of memory", _MEMORY),
    "timeout": Cause(
        "timeout", HOST, "it took longer than it may", "raise timeout_minutes of the recipe, or build on a faster host"
    ),
    "signal": Cause("killed", HOST, "somebody killed it", "run again: what was compiled is kept"),
    "core-dump": Cause("killed", HOST, "it crashed", "run again; if it crashes again, test the host's memory"),
}
_SANDBOX = Cause(
    "sandbox",
    HOST,
    "systemd could not set up the build's sandbox",
    "an unprivileged container cannot: set build_once_sandbox: false for this host",
)
_TEST = Cause("test", SOURCE, "what was built does not pass its test", "read the test's words below; nothing was kept")
_OTHER = Cause("compile", SOURCE, "a command failed", "read the last lines below; the same would happen on every host")
# What compilers, CMake, ninja, Python, pip and git call an error.
_ERROR = re.compile(
    r"(^|\s)(fatal )?error:|CMake Error|^ERROR: |^fatal: |^\s*\w*(Error|Exception)(: |$)|sha256 mismatch"
)
_NAMESPACE_STATUS = range(200, 245)  # exit statuses that systemd itself gives when it could not start a process


def diagnose(unit: Mapping[str, str], state: Mapping[str, object], log: Sequence[str]) -> Cause:
    """Return the cause of a failed build: `unit` from systemctl show, `state` of the runner, `log` its last lines."""
    result = unit.get("Result", "")
    status = unit.get("ExecMainStatus", "0")
    if result == "exit-code" and status.isdigit() and int(status) in _NAMESPACE_STATUS:
        return _SANDBOX._replace(text=f"{_SANDBOX.text} (status {status})")
    if result in ("oom-kill", "timeout"):
        return _RESULTS[result]
    for rule in _RULES:
        for number, line in enumerate(log):
            if rule.pattern.search(line):
                return rule.cause._replace(text=f"{rule.cause.text}: {_line(line)}", at=number)
    if result in _RESULTS:
        return _RESULTS[result]
    cause = _TEST if state.get("step") == "test" else _OTHER
    for number, line in enumerate(log):
        if _ERROR.search(line):
            return cause._replace(text=f"{cause.text}: {_line(line)}", at=number)
    return cause


def excerpt(log: Sequence[str], at: int, lines: int = 25) -> list[str]:
    """Return the lines that matter: from shortly before line `at` on, or the last ones when it is -1."""
    start = max(0, at - 3)
    return list(log[start : start + lines] if at >= 0 else log[-lines:])


def _line(line: str) -> str:
    return " ".join(line.split()).removeprefix("FAILED: ")[:200]
