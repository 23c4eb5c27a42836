"""The key of a build, how two differ, and which host is elected to make it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mi50.build import elect
from mi50.build import key as keys

RECIPE = {"name": "triton 3.5.0", "source": "a" * 40, "torch": "2.9.0+rocm6.4", "requirements": "cmake==3 ninja==1"}
HOST = {"os": "debian 12", "glibc": "2.36", "python": "cpython-311-x86_64-linux-gnu", "machine": "x86_64"}
NEED = {"job_mib": 2048, "disk_mib": 10240}


def answer(**changes: Any) -> dict[str, Any]:
    plain = {"key": "k", "state": "nothing", "cores": 16, "memory_mib": 65536, "disk_mib": 99999, "work": "/var/lib/x"}
    return {**plain, **changes}


def order(answers: dict[str, Any]) -> list[str]:
    return [one.host for one in elect.elect(answers, "k", NEED).order]


@pytest.mark.parametrize("part", [*RECIPE, *HOST])
def test_every_part_changes_the_key(part: str) -> None:
    recipe = {**RECIPE, part: "other"} if part in RECIPE else RECIPE
    host = {**HOST, part: "other"} if part in HOST else HOST
    wanted = keys.parts(RECIPE, HOST)
    assert keys.digest(keys.parts(recipe, host)) != keys.digest(wanted)
    assert keys.digest(dict(reversed(wanted.items()))) == keys.digest(wanted)
    assert len(keys.digest(wanted)) == keys.LENGTH


def test_differences_name_the_part_and_both_values() -> None:
    wanted = keys.parts(RECIPE, HOST)
    there = keys.parts({**RECIPE, "source": "b" * 40, "requirements": "cmake==2 ninja==1"}, {**HOST, "glibc": "2.39"})
    assert keys.differences(wanted, there) == [
        "glibc 2.39 instead of 2.36",
        "requirements cmake==2 instead of cmake==3",
        f"source {'b' * 12} instead of {'a' * 12}",
    ]
    assert keys.differences(wanted, wanted) == []


def test_differences_of_lists_name_what_is_missing_alone() -> None:
    wanted, there = {"environment": "A=1 B=2"}, {"environment": "A=1"}
    assert keys.differences(wanted, there) == ["environment without B=2"]
    assert keys.differences(there, wanted) == ["environment with B=2"]


def test_the_host_that_feeds_most_compilers_builds() -> None:
    answers = {
        "small": answer(memory_mib=8192),
        "big": answer(),
        "slow": answer(cores=8),
        "idle": answer(cores=4, memory_mib=999999),
    }
    assert order(answers) == ["big", "slow", "idle", "small"]


def test_noise_of_free_memory_moves_nothing() -> None:
    # 16 cores and 2 GiB a job: both feed all cores, and their memory is the same power of two.
    assert order({"a": answer(memory_mib=60000), "b": answer(memory_mib=66000)}) == ["a", "b"]
    assert order({"a": answer(memory_mib=66000), "b": answer(memory_mib=60000)}) == ["a", "b"]


def test_who_works_on_it_or_has_it_comes_first() -> None:
    answers = {
        "biggest": answer(cores=64, memory_mib=999999),
        "runs": answer(cores=2, state="running", disk_mib=0),
        "has": answer(cores=2, state="held"),
        "done": answer(cores=2, state="finished"),
    }
    assert order(answers) == ["has", "done", "runs", "biggest"]


def test_other_keys_have_no_vote() -> None:
    assert order({"a": answer(), "b": answer(key="other")}) == ["a"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"disk_mib": 512}, ["0.5 GiB free in /var/lib/x", "needs 10", "build_once_work_dir"]),
        ({"memory_mib": 1024}, ["1.0 GiB of memory", "needs 2.0"]),
        ({"unsuitable": "is for Python 3.10-3.14"}, ["3.10-3.14"]),
    ],
)
def test_hosts_that_cannot_say_why(changes: dict[str, Any], words: list[str]) -> None:
    found = elect.elect({"a": answer(**changes), "b": answer()}, "k", NEED)
    assert [one.host for one in found.order] == ["b"]
    assert [word for word in words if word not in found.refused["a"]] == []


@given(st.integers(1, 256), st.integers(1, 2_000_000), st.integers(1, 65536))
def test_jobs_fit_memory_and_cores(cores: int, memory: int, job: int) -> None:
    found = elect.jobs(cores, memory, job)
    assert 1 <= found <= cores
    assert found == 1 or found * job <= memory


def test_every_worker_elects_the_same() -> None:
    answers = {name: answer(memory_mib=30000 + 5 * ord(name), cores=4) for name in "abcd"}
    orders = {tuple(order({name: answers[name] for name in names})) for names in itertools.permutations("abcd")}
    assert len(orders) == 1
