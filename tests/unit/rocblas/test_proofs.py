"""The long proofs of tests/proofs in small: made-up kernels, fewer packages, fewer kills; and that they can fail."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from mi50.rocblas import prove

from tests.proofs import kill, material, mutate, results
from tests.proofs.mutations import DAMAGE, FORGERY

KINDS = len([*DAMAGE, *FORGERY])


def test_spoiled_packages(repo_root: Path) -> None:
    """Each kind of damage and forgery twice on each kind of package, in a process that is audited."""
    count = KINDS * len(mutate.FORMS) * 2
    command = [sys.executable, "-m", "tests.proofs", "mutate", "--synthetic", "--count", str(count)]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["refused"] == count


def test_kills(tmp_path: Path) -> None:
    found = kill.prove(material.made_up(), 8, random.randrange(1000), tmp_path)  # noqa: S311 - other moments each run
    assert found["kills"] >= 8
    assert not found["failed"], found


def test_a_proof_that_is_switched_off_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "_check_digests", lambda label, content: None)
    number = next(case.number for case in mutate.cases(range(KINDS)) if case.mutation == "spoiled_file")
    found = mutate.prove(material.made_up(), range(number, number + 1), tmp_path)
    assert found["FAILED"] == 1


def test_a_write_elsewhere_is_seen(tmp_path: Path) -> None:
    watch = mutate.Watch()
    watch.paths = []
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").read_text()
    paths, watch.paths = watch.paths, None
    assert paths == [str(tmp_path / "a"), str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_mixed_set_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the module moved a foreign index in: the judge of the kills must say so."""

    def meddle(verb: kill.Verb, rng: random.Random, seconds: float, library: Path) -> str:
        (library / "TensileLibrary_lazy_gfx906.dat").write_bytes(b"from somewhere")
        return "moving files"

    monkeypatch.setattr(kill, "kill", meddle)
    monkeypatch.setattr(kill, "run", lambda verb: {})
    assert kill.prove(material.made_up(), 1, 1, tmp_path)["failed"]


def test_parts_of_a_proof_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "DATA", tmp_path / "x.json")
    monkeypatch.setattr(results, "PAGE", tmp_path / "x.md")
    part = {"material": "m", "archives": 2, "refused": 2, "harmless": 0, "FAILED": 0, "by kind": {"cut: refused": 2}}
    for first in (0, 2, 9):
        results.record("mutate", {**part, "first": first})
    assert results.load()["mutate"]["archives"] == 2  # what does not follow starts anew
    results.record("mutate", {**part, "first": 11})
    found = results.load()["mutate"]
    assert (found["archives"], found["refused"], found["by kind"]) == (4, 4, {"cut: refused": 4})
    assert "4 refused, 0 harmless, 0 failed" in (tmp_path / "x.md").read_text()


def test_the_page_is_made_of_the_recorded_numbers() -> None:
    assert results.PAGE.read_text() == results.page(results.load())
