"""The node after role pytorch, bad input, and what users did to it: whole again, and torch shared."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

ROOT = "/opt/mi50-aipc/venvs"
SITE = "lib/python3.11/site-packages"
COUNT = int(os.environ.get("MI50_LAB_GFX906_FILES", "156"))


@pytest.mark.parametrize("name", ["torch", "comfyui"])
def test_pip_finds_every_need_met(host: Any, name: str) -> None:
    assert "No broken requirements found" in host.check_output(f"{ROOT}/{name}/bin/pip check")


@pytest.mark.parametrize("name", ["torch", "comfyui"])
def test_triton_is_ours_under_both_names(host: Any, name: str) -> None:
    listing = json.loads(host.check_output(f"{ROOT}/{name}/bin/pip list --format json"))
    versions = {row["name"]: row["version"] for row in listing}
    assert versions["torch"] == "2.9.0+rocm6.4"
    assert versions["triton"] == versions["pytorch-triton-rocm"] == "3.5.0+gfx906"
    assert host.check_output(f"{ROOT}/{name}/bin/python -c 'import triton; print(triton.FLAVOUR)'") == "gfx906"


def test_the_environment_on_top_has_no_torch_of_its_own(host: Any) -> None:
    origin = host.check_output(f"{ROOT}/comfyui/bin/python -c 'import torch; print(torch.__file__)'")
    assert origin == f"{ROOT}/torch/{SITE}/torch/__init__.py"
    assert host.run(f"ls {ROOT}/comfyui/{SITE} | grep -i '^torch'").stdout == ""
    # A venv and pip; the kernels alone, which it shares, are 142 MB.
    sizes = [int(host.check_output(f"du -smL {ROOT}/{name}").split()[0]) for name in ("torch", "comfyui")]
    assert sizes[0] > 140 and sizes[1] < 40


def test_every_kernel_is_there_again(host: Any) -> None:
    names = host.check_output(f"ls {ROOT}/torch/{SITE}/torch/lib/rocblas/library | grep gfx906").split()
    assert len(names) == COUNT


def test_later_pip_runs_cannot_undo_it(host: Any) -> None:
    for name in ("torch", "comfyui"):
        done = host.run(f"{ROOT}/{name}/bin/pip install --no-index 'torch<2.9'")
        assert done.rc != 0
        assert "(constraint) torch==2.9.0+rocm6.4" in done.stdout + done.stderr


def test_hipblaslt_is_off_however_python_is_started(host: Any) -> None:
    ask = "import os; print(os.environ['TORCH_BLAS_PREFER_HIPBLASLT'])"
    for name in ("torch", "comfyui"):
        assert host.check_output(f'{ROOT}/{name}/bin/python -c "{ask}"') == "0"


def test_the_command_proves_every_environment(host: Any) -> None:
    done = host.run("mi50-compute --json --only matmul-small-fp32")
    assert done.rc == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["ok"] is True
    assert list(outcome["environments"]) == ["torch", "comfyui"]
    for proof in outcome["environments"].values():
        assert [result["id"] for result in proof["devices"][0]["results"]] == ["matmul-small-fp32"]
        assert proof["devices"][0]["gfx_target"] == "gfx906"


def test_the_table_names_a_failure(host: Any) -> None:
    done = host.run("mi50-compute --env comfyui --only matmul-fp32,nothing")
    assert done.rc == 2
    assert "--only nothing" in done.stderr


def test_fetched_wheels_do_not_stay(host: Any) -> None:
    assert not host.file("/var/cache/mi50-aipc/wheels").exists
