"""Which host builds. The same answer on every worker of a run, and from one run to the next while nothing changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# What an answer of a node says about the wanted build there.
HELD, RUNNING, FINISHED, NOTHING = "held", "running", "finished", "nothing"
_RANK = {HELD: 0, FINISHED: 1, RUNNING: 2, NOTHING: 3}


class Candidate(NamedTuple):
    """A host that could build. `jobs` is how many compilers it can feed at once."""

    host: str
    state: str
    jobs: int
    cores: int
    memory_mib: int


class Election(NamedTuple):
    """Hosts in the order in which they are asked, and why the others are not."""

    order: list[Candidate]
    refused: dict[str, str]


def elect(answers: Mapping[str, Mapping[str, Any]], key: str, need: Mapping[str, int]) -> Election:
    """Order the hosts whose build would have this key.

    `answers` are what hosts said of this build (question.look), `need` gives `job_mib` and `disk_mib`. A host that has
    the artifact, or works on it, comes first: nothing is ever built twice. Then the one that can run most compilers;
    memory only counts in powers of two, so that its noise does not move the build to another host.
    """
    order, refused = [], {}
    for host, answer in answers.items():
        if answer.get("key") != key:
            continue
        state = str(answer.get("state", NOTHING))
        why = _lacks(answer, need) if state == NOTHING else ""
        if why:
            refused[host] = why
            continue
        memory, cores = int(answer["memory_mib"]), int(answer["cores"])
        order.append(Candidate(host, state, jobs(cores, memory, need["job_mib"]), cores, memory))
    return Election(sorted(order, key=_preference), refused)


def jobs(cores: int, memory_mib: int, job_mib: int) -> int:
    """Return how many compilers fit cores and memory at once; an eighth of the memory is left to others."""
    return max(1, min(cores, memory_mib * 7 // 8 // max(1, job_mib)))


def _preference(one: Candidate) -> tuple[int, int, int, int, str]:
    coarse = round(math.log2(max(1, one.memory_mib)))
    return (_RANK[one.state], -one.jobs, -coarse, -one.cores, one.host)


def _lacks(answer: Mapping[str, Any], need: Mapping[str, int]) -> str:
    if answer.get("unsuitable"):
        return str(answer["unsuitable"])
    if answer["disk_mib"] < need["disk_mib"]:
        wanted = f"the build needs {need['disk_mib'] / 1024:.0f}"
        return f"{answer['disk_mib'] / 1024:.1f} GiB free in {answer['work']}, {wanted}: set build_once_work_dir"
    if answer["memory_mib"] < need["job_mib"]:
        wanted = f"one compiler needs {need['job_mib'] / 1024:.1f}"
        return f"{answer['memory_mib'] / 1024:.1f} GiB of memory free, {wanted}: stop its engines"
    return ""
