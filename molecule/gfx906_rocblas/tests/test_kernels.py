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
COUNT = int(os.environ.get("MI50_LAB_GFX906_FILES", "156"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_files_are_there(host: Any, library: str) -> None:
    names = host.check_output(f"ls {library} | grep gfx906").split()
    assert len(names) == COUNT
    assert "TensileLibrary_lazy_gfx906.dat" in names


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_file_is_the_packages(host: Any, library: str) -> None:
    """Compared with GNU tar's own reading of the package, not with ours."""
    package = host.check_output(f"ls {CACHE}/rocblas-*.pkg.tar.zst")
    host.run_expect(
        [0],
        f"rm -rf /var/tmp/ref && mkdir /var/tmp/ref && tar --zstd -xf {package} -C /var/tmp/ref --wildcards '*gfx906*'",
    )
    command = f"diff -r /var/tmp/ref/opt/rocm/lib/rocblas/library {library} | grep -v '^Only in {library}'"
    assert host.run(command).stdout == ""


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
