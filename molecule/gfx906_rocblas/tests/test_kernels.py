"""The node after role gfx906_rocblas: every kernel of the signed package, in both libraries."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

LIBRARIES = [
    "/opt/rocm-6.4.3/lib/rocblas/library",
    "/opt/venv/lib/python3.11/site-packages/torch/lib/rocblas/library",
]
CACHE = "/var/cache/mi50-aipc"
PACKAGE = os.environ["MI50_LAB_MIRROR"] + "/arch/packages/r/rocblas/rocblas-6.4.3-3-x86_64.pkg.tar.zst"
COUNT = int(os.environ.get("MI50_LAB_GFX906_FILES", "156"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_files_are_there(host: Any, library: str) -> None:
    names = host.check_output(f"ls {library} | grep gfx906").split()
    assert len(names) == COUNT
    assert "TensileLibrary_lazy_gfx906.dat" in names


@pytest.fixture(scope="module")
def reference(host: Any) -> str:
    """The package's kernels by GNU tar's own reading, not by ours."""
    folder, package = "/opt/reference", "/opt/package.tar.zst"
    fetch = f"import urllib.request; urllib.request.urlretrieve({PACKAGE!r}, {package!r})"
    host.run_expect([0], f'python3 -c "{fetch}"')
    host.run_expect([0], f"mkdir -p {folder} && tar --zstd -xf {package} -C {folder} --wildcards '*gfx906*'")
    return f"{folder}/opt/rocm/lib/rocblas/library"


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_file_is_the_packages(host: Any, library: str, reference: str) -> None:
    command = f"diff -r {reference} {library} | grep -v '^Only in {library}'"
    assert host.run(command).stdout == ""


def test_the_package_does_not_stay(host: Any) -> None:
    """400 MB that only a repair needs again."""
    assert host.file(CACHE).is_directory
    assert "rocblas" not in host.check_output(f"ls -A {CACHE}")


@pytest.mark.parametrize("library", LIBRARIES)
def test_manifest_names_the_packager(host: Any, library: str) -> None:
    manifest = json.loads(host.file(f"{library}/.gfx906_rocblas.json").content_string)
    assert manifest["source"]["version"] == "6.4.3-3"
    assert len(manifest["source"]["signed_by"]) == 40
    assert len(manifest["files"]) == COUNT


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_else_is_left(host: Any, library: str) -> None:
    assert host.check_output(f"ls -A {library} | grep '^[.]'") == ".gfx906_rocblas.json"


def test_dpkg_still_knows_its_own_files(host: Any) -> None:
    assert host.check_output("dpkg --verify rocblas") == ""
