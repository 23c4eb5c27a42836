"""Install, unchanged, drift, upgrade, rollback."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from mi50.rocblas.errors import RocblasError

from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner, contents, snapshot

KERNELS = synthetic.kernels("-xnack-")


@pytest.mark.usefixtures("either_zstd")
def test_install_puts_exactly_the_gfx906_files_in(patch: Runner, library: Path) -> None:
    before = {name: data for name, data in synthetic.amd().items()}
    outcome = patch(expected_files=len(KERNELS))
    assert outcome["changed"]
    assert sorted(outcome["files"]["added"]) == sorted(KERNELS)
    assert contents(library) == KERNELS
    assert {name: (library / name).read_bytes() for name in before} == before
    assert outcome["bytes_written"] == sum(map(len, KERNELS.values()))
    assert outcome["source"]["kind"] == "arch"
    assert outcome["source"]["version"] == "6.4.3-3"
    assert outcome["library_dir"] == str(library)
    leftovers = {path.name for path in library.iterdir() if path.name.startswith(".")}
    assert leftovers == {".gfx906_rocblas.json"}
    assert stat.S_IMODE(Path(outcome["manifest"]).stat().st_mode) == 0o644


@pytest.mark.parametrize("verify", ["stat", "sha256"])
def test_second_run_changes_nothing(patch: Runner, library: Path, verify: str) -> None:
    patch()
    before = snapshot(library)
    outcome = patch(verify=verify)
    assert not outcome["changed"]
    assert sorted(outcome["files"]["unchanged"]) == sorted(KERNELS)
    assert snapshot(library) == before


def test_unchanged_run_does_not_read_the_source(patch: Runner, package: Path) -> None:
    patch()
    status = package.stat()
    package.write_bytes(b"x" * status.st_size)
    os.utime(package, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not patch()["changed"]
    with pytest.raises(RocblasError):
        patch(verify="sha256")


def test_same_source_fetched_again_is_unchanged(patch: Runner, package: Path) -> None:
    patch()
    os.utime(package, (1, 1))
    assert not patch()["changed"]


def test_absent_restores_byte_for_byte(patch: Runner, library: Path) -> None:
    (library / "Kernels.so-000-gfx906-xnack-.hsaco").write_bytes(b"older")  # replaced
    (library / "TensileLibrary_old_gfx906.co").write_bytes(b"older")  # removed
    (library / synthetic.INDEX).symlink_to("elsewhere")  # a link, replaced
    os.utime(library, ns=(10**18, 10**18))
    before = snapshot(library)
    outcome = patch()
    assert outcome["files"]["replaced"] == ["Kernels.so-000-gfx906-xnack-.hsaco", synthetic.INDEX]
    assert outcome["files"]["removed"] == ["TensileLibrary_old_gfx906.co"]
    assert contents(library) == KERNELS
    assert patch(state="absent")["changed"]
    assert snapshot(library) == before
    assert not patch(state="absent")["changed"]


def test_absent_keeps_a_file_that_was_there_with_the_same_bytes(patch: Runner, library: Path) -> None:
    (library / synthetic.INDEX).write_bytes(KERNELS[synthetic.INDEX])
    before = snapshot(library)
    patch()
    patch(state="absent")
    assert snapshot(library) == before


@pytest.mark.parametrize("kind", ["missing", "modified", "foreign", "everything"])
def test_drift_is_reported_and_repaired(patch: Runner, library: Path, kind: str) -> None:
    patch()
    victim = library / f"{synthetic.BASE.format('SS')}_gfx906.co"
    if kind == "missing":
        victim.unlink()
    elif kind == "modified":
        victim.write_bytes(b"someone else's")
    elif kind == "foreign":
        (library / "TensileLibrary_Type_XX_gfx906.co").write_bytes(b"someone else's")
    else:
        for name in KERNELS:
            (library / name).unlink()
    outcome = patch()
    assert outcome["changed"]
    assert set(outcome["drift"]) == {"missing" if kind == "everything" else kind}
    assert contents(library) == KERNELS
    assert not patch()["changed"]


def test_absent_gives_back_what_a_package_put_in_since(patch: Runner, library: Path) -> None:
    patch()
    (library / synthetic.INDEX).write_bytes(b"of a newer ROCm")
    patch()
    assert contents(library) == KERNELS
    patch(state="absent")
    assert contents(library) == {synthetic.INDEX: b"of a newer ROCm"}


def test_absent_leaves_a_packages_own_file_alone(patch: Runner, library: Path) -> None:
    patch()
    (library / synthetic.INDEX).write_bytes(b"of a newer ROCm")
    patch(state="absent")
    assert contents(library) == {synthetic.INDEX: b"of a newer ROCm"}


def test_another_build_replaces_the_first_and_absent_still_knows_the_start(
    patch: Runner, library: Path, tmp_path: Path
) -> None:
    before = snapshot(library)
    patch()
    other = synthetic.kernels("", seed="b")
    second = synthetic.arch(tmp_path / "second.pkg.tar.zst", {**synthetic.amd(), **other})
    outcome = patch(src=str(second))
    assert contents(library) == other
    assert "Kernels.so-000-gfx906-xnack-.hsaco" in outcome["files"]["removed"]
    assert not (library / ".gfx906_rocblas.backup").exists()
    patch(state="absent")
    assert snapshot(library) == before


def reinstall(library: Path, files: synthetic.Files) -> None:
    """As pip or dpkg does it: their own files anew, ours left alone because they do not know them."""
    for name, data in files.items():
        (library / name).unlink()
        (library / name).write_bytes(data)


def test_a_torch_reinstall_of_the_same_release(patch: Runner, library: Path) -> None:
    patch()
    reinstall(library, synthetic.amd())
    outcome = patch()
    assert not outcome["changed"]
    assert len(outcome["drift"]["catalogs"]) == len(synthetic.TYPES)
    assert not patch()["drift"]


def test_a_virtual_environment_that_was_made_anew(patch: Runner, library: Path) -> None:
    patch()
    shutil.rmtree(library)
    synthetic.write(library, synthetic.amd())
    before = snapshot(library)
    assert patch()["changed"]
    assert contents(library) == KERNELS
    patch(state="absent")
    assert snapshot(library) == before


def test_an_upgrade_that_brings_its_own_gfx906(patch: Runner, library: Path) -> None:
    """Should a later build have the kernels again, its files are saved and come back."""
    patch()
    theirs = {**synthetic.amd(), **{name: data + b"theirs" for name, data in KERNELS.items()}}
    reinstall(library, theirs)
    outcome = patch()
    assert set(outcome["drift"]["modified"]) == set(KERNELS)
    assert contents(library) == KERNELS
    patch(state="absent")
    assert {path.name: path.read_bytes() for path in library.iterdir()} == theirs


def test_a_torch_reinstall_that_brings_other_catalogs_is_noticed(patch: Runner, library: Path) -> None:
    patch()
    (library / f"{synthetic.BASE.format('SS')}_fallback.dat").write_bytes(synthetic.catalog("SS", "4.5", source=True))
    with pytest.raises(RocblasError, match="two rocBLAS releases"):
        patch()


@pytest.mark.parametrize("state", ["present", "absent"])
def test_check_mode_writes_nothing_and_says_the_same(patch: Runner, library: Path, state: str) -> None:
    if state == "absent":
        patch()
    before = snapshot(library)
    planned = patch(state=state, check_mode=True)
    assert snapshot(library) == before
    done = patch(state=state)
    assert planned["diff"] == done["diff"]
    assert planned["files"] == done["files"]
    assert planned["changed"]
    size = len(KERNELS[synthetic.INDEX])
    assert f"{synthetic.INDEX} {size} bytes\n" in done["diff"]["after" if state == "present" else "before"]


@pytest.mark.parametrize("kind", ["deb", "tar", "tar.gz", "tar.xz", "directory"])
def test_every_kind_of_source(patch: Runner, library: Path, tmp_path: Path, kind: str) -> None:
    files = synthetic.full()
    members = {f"x/rocblas/library/{name}": data for name, data in files.items()}
    path = tmp_path / f"kernels.{kind}"
    if kind == "deb":
        synthetic.deb(path, files)
    elif kind == "directory":
        synthetic.write(path / "library", files)
    else:
        tar = synthetic.tar_bytes(members)

        path.write_bytes({"tar": bytes, "tar.gz": gzip.compress, "tar.xz": lzma.compress}[kind](tar))
    outcome = patch(src=str(path), version="6.4.4" if kind == "deb" else None)
    assert outcome["source"]["kind"] == kind.partition(".")[0]
    assert contents(library) == KERNELS
    assert not patch(src=str(path), version=None)["changed"]
    assert not patch(src=str(path), version=None, verify="sha256")["changed"]


@pytest.mark.parametrize("layout", ["venv", "debian", "library", "symlink"])
def test_every_kind_of_destination(patch: Runner, tmp_path: Path, layout: str) -> None:
    places = {
        "venv": "venv/lib/python3.11/site-packages/torch/lib/rocblas/library",
        "debian": "usr/lib/x86_64-linux-gnu/rocblas/4.4.1/library",
        "library": "lib",
        "symlink": "rocm-6.4.3/lib/rocblas/library",
    }
    library = synthetic.write(tmp_path / "d" / places[layout], synthetic.amd())
    dest = tmp_path / "d" / places[layout].split("/", maxsplit=1)[0]
    if layout == "symlink":
        (tmp_path / "d/rocm").symlink_to("rocm-6.4.3")
        dest = tmp_path / "d/rocm"
    assert patch(dest=str(dest))["library_dir"] == str(library)
    assert contents(library) == KERNELS


def test_unchanged_run_is_quick(patch: Runner) -> None:
    patch()
    start = time.monotonic()
    patch()
    assert time.monotonic() - start < 0.3


def test_the_manifest_says_what_is_there(patch: Runner, library: Path) -> None:
    patch()
    data = json.loads((library / ".gfx906_rocblas.json").read_text())
    assert set(data["files"]) == set(KERNELS)
    assert len(data["catalogs"]) == len(synthetic.TYPES)
