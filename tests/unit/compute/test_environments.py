"""`mi50-compute`: every environment of a node, each in its own Python; needs no torch itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shared environment that is right and one on top that is not; their Pythons only say so."""
    for name, code in (("torch", 0), ("comfyui", 1), ("stranger", 0)):
        python = tmp_path / name / "bin/python"
        python.parent.mkdir(parents=True)
        answer = json.dumps({"ok": not code, "failures": ["cuda:0/matmul-fp32"] * code, "devices": []})
        python.write_text(f"#!/bin/sh\necho '{answer}'\necho \"$@\" >{python.parent}/arguments\nexit {code}\n")
        python.chmod(0o755)
    (tmp_path / "comfyui/.mi50-env.json").write_text("{}")
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mi50_compute.environments", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "compute"), "MI50_VENVS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_environment_of_the_role_is_proven(folder: Path) -> None:
    done = run(folder, "--json", "--timeout", "5")
    assert done.returncode == 1
    outcome = json.loads(done.stdout)
    assert outcome["ok"] is False
    assert {name: one["exit_code"] for name, one in outcome["environments"].items()} == {"torch": 0, "comfyui": 1}
    assert outcome["environments"]["comfyui"]["failures"] == ["cuda:0/matmul-fp32"]
    assert (folder / "torch/bin/arguments").read_text().split()[1:] == ["mi50_compute", "--json", "--timeout", "5"]


def test_one_environment_by_name_or_path(folder: Path) -> None:
    done = run(folder, "--env", "torch", f"--env={folder}/stranger")
    assert done.returncode == 0
    assert f"== torch: {folder}/torch" in done.stdout and "== " + str(folder / "stranger") in done.stdout


@pytest.mark.parametrize(("words", "said"), [(["--env", "vllm"], "known in"), ([], "run the role pytorch")])
def test_what_is_not_there_is_said(folder: Path, tmp_path: Path, words: list[str], said: str) -> None:
    done = run(folder if words else tmp_path / "empty", *words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_the_command_starts_the_package(folder: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "compute/mi50-compute"), "--env", "torch", "--json"],
        env={**os.environ, "MI50_COMPUTE_LIBRARY": str(ROOT / "compute"), "MI50_VENVS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["environments"]["torch"]["ok"] is True
