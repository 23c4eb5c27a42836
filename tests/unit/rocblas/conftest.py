"""Fixtures: a ROCm prefix of AMD's and Arch's package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50.rocblas import zstd
from mi50.rocblas.request import Request
from mi50.rocblas.run import run

from tests.unit.rocblas import synthetic

Runner = Callable[..., dict]
Tree = dict[str, tuple]


@pytest.fixture
def rocm(tmp_path: Path) -> Path:
    return synthetic.prefix(tmp_path / "opt/rocm-6.4.3")


@pytest.fixture
def library(rocm: Path) -> Path:
    return rocm / "lib/rocblas/library"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return synthetic.arch(tmp_path / "rocblas-6.4.3-3-x86_64.pkg.tar.zst", synthetic.full())


@pytest.fixture
def no_libzstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a node without libzstd: the program zstd has to do it."""
    monkeypatch.setattr(zstd, "library", lambda: None)


@pytest.fixture(params=["libzstd", "zstd"])
def either_zstd(request: pytest.FixtureRequest) -> None:
    """Run the test with the library and with the program."""
    if request.param == "zstd":
        request.getfixturevalue("no_libzstd")


@pytest.fixture
def patch(rocm: Path, package: Path) -> Runner:
    """Run the module's logic; options override the usual ones."""

    def call(**options: object) -> dict:
        return run(Request(**{"dest": str(rocm), "src": str(package), "version": "6.4.3", **options}))

    return call


def snapshot(folder: Path) -> Tree:
    """Everything about a tree that `absent` must restore, the directory's own time included."""
    found: Tree = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            content,
        )
    return found


def contents(folder: Path) -> synthetic.Files:
    """The gfx906 files in a library by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if "gfx906" in path.name and path.name[0] != "."}
