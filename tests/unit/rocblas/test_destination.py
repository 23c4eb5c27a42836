"""Where the kernels go: not a library, elsewhere, full, read-only, busy; and a source that changes meanwhile."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mi50.rocblas.errors import RocblasError
from mi50.rocblas.request import Request
from mi50.rocblas.run import run
from mi50.rocblas.stage import Stage

from tests.proofs import payload
from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner, contents, snapshot
from tests.unit.rocblas.test_bad_input import refused

KERNELS = synthetic.kernels("-xnack-")
DESTINATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (lambda path: path.write_text("x"), "no such directory"),
    "an empty directory": (lambda path: path.mkdir(), "no rocBLAS library directory"),
    "a prefix without catalogs": (
        lambda path: (path / "lib/rocblas/library").mkdir(parents=True),
        "holds no Tensile library",
    ),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "no such directory"),
}


@pytest.mark.parametrize("case", DESTINATIONS)
def test_destination(patch: Runner, library: Path, tmp_path: Path, case: str) -> None:
    make, words = DESTINATIONS[case]
    make(tmp_path / "dest")
    refused(patch, library, words, dest=str(tmp_path / "dest"))


def test_a_destination_that_is_not_there(patch: Runner, tmp_path: Path) -> None:
    """A check may run before the task that makes it."""
    dest = str(tmp_path / "dest")
    with pytest.raises(RocblasError, match="no such directory"):
        patch(dest=dest)
    outcome = patch(dest=dest, check_mode=True)
    assert outcome["changed"]
    assert outcome["needs_source"]
    assert "not there yet" in outcome["warnings"][0]


def test_a_library_that_leads_elsewhere(patch: Runner, library: Path, tmp_path: Path) -> None:
    inner = tmp_path / "venv/lib/python3.11/site-packages/torch/lib/rocblas"
    inner.mkdir(parents=True)
    (inner / "library").symlink_to(library)
    refused(patch, library, "which others may use", dest=str(tmp_path / "venv"))


def test_two_pythons_in_one_environment(patch: Runner, library: Path, tmp_path: Path) -> None:
    for python in ("python3.11", "python3.12"):
        synthetic.write(tmp_path / f"v/lib/{python}/site-packages/torch/lib/rocblas/library", synthetic.amd())
    refused(patch, library, "several rocBLAS library directories", dest=str(tmp_path / "v"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB of its own."""
    mounted = tmp_path / "mnt"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here; test_full_disk stands for it")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def without_time(tree: dict) -> dict:
    """A staging directory came and went: the library directory's own time may differ."""
    return {name: value for name, value in tree.items() if name != "lib/rocblas/library"}


@pytest.mark.parametrize("free", [0, 8, 24])
def test_full(small: Path, package: Path, free: int) -> None:
    """No room at all, for a few files, for some more: KiB."""
    library = synthetic.write(small / "lib/rocblas/library", synthetic.amd())
    fill = small / "fill"
    with pytest.raises(OSError, match="No space"), fill.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    os.truncate(fill, fill.stat().st_size - free * 1024)
    before = snapshot(small)
    with pytest.raises(RocblasError, match=r"No space left on device.*Nothing was changed. Free some space"):
        run(Request(dest=str(small), src=str(package)))
    assert without_time(snapshot(small)) == without_time(before)
    fill.unlink()
    assert run(Request(dest=str(small), src=str(package)))["changed"]
    assert contents(library) == KERNELS


def test_read_only(small: Path, package: Path) -> None:
    synthetic.write(small / "lib/rocblas/library", synthetic.amd())
    before = snapshot(small)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for dest in (small, small / "lib/rocblas/library"):
        with pytest.raises(RocblasError, match="mounted read-only; remount it"):
            run(Request(dest=str(dest), src=str(package)))
    assert run(Request(dest=str(small), src=str(package), check_mode=True))["changed"]
    assert snapshot(small) == before


def test_a_library_on_a_file_system_of_its_own(small: Path, package: Path, rocm: Path, library: Path) -> None:
    """Neither the prefix around it nor the source lie there; staging and backup must."""
    shutil.rmtree(library)
    library.mkdir()
    subprocess.run(["mount", "--bind", str(small), str(library)], check=True)
    try:
        synthetic.write(library, {**synthetic.amd(), synthetic.INDEX: b"of before"})
        before = snapshot(rocm)
        assert run(Request(dest=str(rocm), src=str(package)))["changed"]
        assert contents(library) == KERNELS
        run(Request(dest=str(rocm), state="absent"))
        assert snapshot(rocm) == before
    finally:
        subprocess.run(["umount", str(library)], check=True)


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": lambda path: path.with_name("new").replace(path),
    "rewritten": lambda path: path.write_bytes(path.with_name("new").read_bytes()),
    "cut": lambda path: os.truncate(path, 100),
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_while_it_is_read(
    patch: Runner, library: Path, package: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The change comes when the first kernel is written, so in the middle of the package."""
    synthetic.arch(package.with_name("new"), {**synthetic.amd(), **synthetic.kernels("-xnack-", seed="b")})
    real = Stage.create

    def create(stage: Stage, name: str) -> int:
        if not any(stage.path.iterdir()):
            CHANGES[change](package)
        return real(stage, name)

    before = snapshot(library)
    monkeypatch.setattr(Stage, "create", create)
    with pytest.raises(RocblasError, match=r"replaced or written to while it was read|cannot be read|damaged"):
        patch()
    after = snapshot(library)
    assert {**after, ".": 0} == {**before, ".": 0}


def test_a_second_run_at_the_same_time(patch: Runner, library: Path) -> None:
    fd = os.open(library, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    refused(patch, library, "another run is patching it")
    os.close(fd)
    assert patch()["changed"]


def test_many_runs_at_the_same_time(rocm: Path, library: Path, package: Path, tmp_path: Path) -> None:
    """Real programs that race: each one succeeds or says that another is at it, and the library ends whole."""
    text = payload.build(tmp_path)
    program = payload.write(text, tmp_path / "module.py", src=str(package), dest=[str(rocm)])
    racing = [subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) for dummy in range(6)]
    outputs = [one.communicate()[0] for one in racing]
    for one, output in zip(racing, outputs):
        assert one.returncode == 0 or "another run is patching it" in output, output
    assert sum('"changed": true' in output for output in outputs) >= 1
    assert contents(library) == KERNELS
    assert not payload.run(program)["changed"]


def test_a_planted_staging_link_is_not_followed(patch: Runner, library: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "keep").write_text("x")
    (library / ".gfx906_rocblas.staging").symlink_to(target)
    patch()
    assert [path.name for path in target.iterdir()] == ["keep"]


def test_what_a_removal_left_has_nothing_to_give_back(tmp_path: Path, package: Path) -> None:
    """The power failed while apt removed ROCm: its folder is there, the libraries are not. An uninstall goes on."""
    rest = tmp_path / "rocm/share/doc"
    rest.mkdir(parents=True)
    found = run(Request(dest=str(tmp_path / "rocm"), state="absent"))
    assert not found["changed"]
    assert "nothing to give back" in found["warnings"][0]
    with pytest.raises(RocblasError, match="no rocBLAS library directory"):
        run(Request(dest=str(tmp_path / "rocm"), src=str(package)))
