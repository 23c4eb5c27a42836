"""The compute proof with real torch on the CPU: it passes, and it fails for the right reason when torch is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = HERE.parents[2] / "compute"
TORCH = os.environ.get("MI50_TORCH_PYTHON", "")
needs_torch = pytest.mark.skipif(
    not TORCH, reason="MI50_TORCH_PYTHON names no Python with torch (script/test unit makes one)"
)


def run(*options: str, broken: str = "") -> tuple[int, dict, str]:
    path = os.pathsep.join([str(FILES), *([str(HERE / "broken")] if broken else [])])
    ran = subprocess.run(
        [TORCH, "-m", "mi50_compute", "--json", *options],
        env={**os.environ, "PYTHONPATH": path, "MI50_TEST_BREAK": broken, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, json.loads(ran.stdout) if ran.stdout.startswith("{") else {}, ran.stderr


def by_id(outcome: dict) -> dict[str, dict]:
    return {result["id"]: result for result in outcome["devices"][0]["results"]}


@needs_torch
def test_everything_is_right_on_the_cpu() -> None:
    code, outcome, _ = run("--device", "cpu", "--ranks", "2")
    assert code == 0, outcome
    assert outcome["ok"] and outcome["failures"] == []
    results = by_id(outcome)
    assert len(results) == 16
    for result in results.values():
        assert result["status"] == "ok"
        assert 0 <= result["ratio"] <= 1
    # An error of zero everywhere would mean that something was compared with itself.
    assert results["matmul-fp32"]["ratio"] > 0 and results["matmul-fp16"]["ratio"] > 0.1
    assert outcome["joint"][0]["status"] == "ok"
    assert outcome["torch"].startswith("2.13.0")


@needs_torch
def test_one_missing_product_of_a_thousand_is_seen_and_named() -> None:
    code, outcome, text = run("--device", "cpu", "--only", "matmul-fp32,matmul-fp16", broken="wrong")
    assert code == 1
    assert outcome["failures"] == ["cpu/matmul-fp32"]
    found = by_id(outcome)["matmul-fp32"]
    assert found["status"] == "wrong" and found["ratio"] > 1
    assert "values are wrong" in found["detail"] and "got" in found["detail"]
    assert "cpu/matmul-fp32" in text.splitlines()[-1]


@needs_torch
def test_a_value_that_is_not_a_number_is_wrong() -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "matmul-fp32", broken="nan")
    assert code == 1
    assert "not finite" in by_id(outcome)["matmul-fp32"]["detail"]


@needs_torch
def test_a_hang_ends_in_time_and_the_rest_still_runs() -> None:
    code, outcome, _ = run(
        "--device", "cpu", "--only", "matmul-odd-fp32,matmul-batched-fp32,sum-fp32", "--timeout", "15", broken="hang"
    )
    assert code == 1
    assert {name: result["status"] for name, result in by_id(outcome).items()} == {
        "matmul-odd-fp32": "ok",
        "matmul-batched-fp32": "hang",
        "sum-fp32": "ok",
    }


@needs_torch
def test_an_abort_is_named_explained_and_survived() -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "matmul-batched-fp16,sum-fp32", broken="abort")
    assert code == 1
    found = by_id(outcome)["matmul-batched-fp16"]
    assert found["status"] == "abort"
    assert "SIGABRT" in found["detail"] and "rocBLAS error: Cannot read" in found["detail"]
    assert "puts the gfx906 kernels back" in found["remedy"]
    assert by_id(outcome)["sum-fp32"]["status"] == "ok"


@needs_torch
def test_an_exception_is_this_operations_error() -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "matmul-batched-fp32,copy", broken="raises")
    assert code == 1
    found = by_id(outcome)["matmul-batched-fp32"]
    assert found["status"] == "error" and "built without gfx906" in found["remedy"]
    assert by_id(outcome)["copy"]["status"] == "ok"


@needs_torch
def test_a_worker_that_never_starts_is_tried_once() -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "copy,sum-fp32", broken="start")
    assert code == 1
    assert [result["id"] for result in outcome["devices"][0]["results"]] == ["start"]


@needs_torch
@pytest.mark.parametrize(
    ("how", "status", "words"), [("sum", "wrong", "sums are wrong"), ("lost-rank", "abort", "SIGSEGV")]
)
def test_an_all_reduce_that_fails_is_named(how: str, status: str, words: str) -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "copy", "--ranks", "2", "--timeout", "60", broken=how)
    assert code == 1
    assert outcome["failures"] == ["all-reduce"]
    assert outcome["joint"][0]["status"] == status
    assert words in outcome["joint"][0]["detail"]


@needs_torch
@pytest.mark.slow
def test_a_network_learns() -> None:
    code, outcome, _ = run("--device", "cpu", "--only", "train")
    assert code == 0, outcome
    assert "unseen digits right" in by_id(outcome)["train"]["detail"]


@needs_torch
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "auto"], "torch sees no GPU"),
        (["--device", "cpu", "--only", "matmul"], "--only matmul: there are copy"),
        (["--device", "cpu", "--expect-gpus", "2"], "torch sees 0 GPU(s), 2 expected"),
    ],
)
def test_what_cannot_be_tried_is_said(options: list[str], words: str) -> None:
    code, outcome, text = run(*options)
    assert code == 2
    assert not outcome
    assert words in text


def test_a_python_without_torch_is_refused() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mi50_compute"],
        env={**os.environ, "PYTHONPATH": str(FILES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "has no torch" in ran.stderr and "Traceback" not in ran.stderr
