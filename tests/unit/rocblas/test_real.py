"""Debian's real librocblas4, where MI50_ROCBLAS_DEB names it: 4.1 GB, 140 gfx906 files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from mi50.rocblas.request import Request
from mi50.rocblas.run import run

from tests.unit.rocblas.conftest import contents, snapshot

DEB = Path(os.environ.get("MI50_ROCBLAS_DEB") or "/nonexistent")
REAL = [DEB] if DEB.is_file() else []


@pytest.fixture
def amd(tmp_path: Path) -> Path:
    """AMD's library: Debian's without gfx906, and of other architectures the catalogs alone."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(DEB)], stdout=subprocess.PIPE) as tar:
        extract = [
            "tar",
            "-x",
            "-C",
            str(tmp_path),
            "--wildcards",
            "--exclude=*gfx906*",
            "*/rocblas/*.dat",
            "*/librocblas.so.*",
        ]
        subprocess.run(extract, stdin=tar.stdout, check=True)
    return tmp_path / "usr"


@pytest.mark.slow
@pytest.mark.parametrize("deb", REAL, ids=str)
def test_install_verify_rollback(amd: Path, deb: Path) -> None:
    request = Request(dest=str(amd), src=str(deb), version="6.4.4-4", expected_files=140)
    before = snapshot(amd)
    outcome = run(request)
    assert outcome["bytes_written"] == 142_014_224
    assert len(contents(Path(outcome["library_dir"]))) == 140
    assert not run(request._replace(verify="sha256"))["changed"]
    run(request._replace(state="absent"))
    assert snapshot(amd) == before
