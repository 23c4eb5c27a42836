"""The program that Ansible sends to a node, on every Python a node may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs import payload
from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import contents, snapshot
from tools.testsuite.unit import interpreter

PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
KERNELS = synthetic.kernels("-xnack-")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return payload.build(tmp_path_factory.mktemp("payload"))


@pytest.mark.parametrize("version", PYTHONS)
def test_module(program: str, version: str, rocm: Path, library: Path, package: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    venv = synthetic.write(tmp_path / "v/lib/python3.11/site-packages/torch/lib/rocblas/library", synthetic.amd())
    before = snapshot(rocm), snapshot(tmp_path / "v")
    both = {"dest": [str(rocm), str(tmp_path / "v")], "version": "6.4.3"}

    def call(**arguments: object) -> dict:
        outcome = payload.run(payload.write(program, tmp_path / "module.py", **{**both, **arguments}), python)
        assert "Traceback" not in outcome["stderr"]
        return outcome

    cut = tmp_path / "cut.pkg.tar.zst"
    cut.write_bytes(package.read_bytes()[:-30])
    refused = call(src=str(cut))
    assert refused["failed"]
    assert refused["source_rejected"]
    assert call(src=str(package))["changed"]
    assert contents(library) == contents(venv) == KERNELS
    assert not call(src=str(package), verify="sha256")["changed"]
    deb = synthetic.deb(tmp_path / "other.deb", {**synthetic.amd(), **synthetic.kernels(seed="b")})
    assert call(src=str(deb), version="6.4.4")["changed"]
    assert call(state="absent", version=None)["changed"]
    after = snapshot(rocm), snapshot(tmp_path / "v")
    for tree in (*before, *after):
        # An installation that was refused made a staging directory and took it away: the folder's own time.
        tree.pop("lib/rocblas/library", None)
        tree.pop("lib/python3.11/site-packages/torch/lib/rocblas/library", None)
    assert after == before
