"""Killed at every system call that changes names, and a full disk: the next run ends whole, or ends as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mi50.rocblas import journal, stage
from mi50.rocblas.errors import RocblasError

from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner, contents, snapshot

KERNELS = synthetic.kernels("-xnack-")
OLD = {
    "Kernels.so-000-gfx906-xnack-.hsaco": b"older",
    "TensileLibrary_old_gfx906.co": b"o",
    synthetic.INDEX: b"old index",
}


def killed(call: Callable[[], object], at: int) -> bool:
    """Run `call` in a child that is killed at its at-th change of a name or flush; False when it ended before."""
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def counted(real: Callable) -> Callable:
                def wrapper(*arguments: object, **options: object) -> object:
                    nonlocal count
                    count += 1
                    if count == at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*arguments, **options)

                return wrapper

            for name in ("rename", "replace", "unlink", "mkdir", "rmdir", "fsync"):
                setattr(os, name, counted(getattr(os, name)))
            call()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def loadable(library: Path) -> bool:
    """What rocBLAS would do: without the lazy index it loads nothing of gfx906."""
    return (library / synthetic.INDEX).exists()


def kill_points(patch: Runner, **options: object) -> Iterator[int]:
    at = 1
    while killed(lambda: patch(**options), at):
        yield at
        at += 1
    assert at > 10, "nothing was ever killed"


@pytest.mark.parametrize("then", ["present", "absent"])
def test_killed_while_installing(patch: Runner, library: Path, then: str) -> None:
    synthetic.write(library, OLD)
    before = snapshot(library)
    for at in kill_points(patch):
        now = contents(library)
        if loadable(library):
            assert now in (OLD, KERNELS), f"a mixed set that rocBLAS would load, killed at {at}"
        patch(state=then)
        if then == "present":
            assert contents(library) == KERNELS, at
        patch(state="absent")
        after = snapshot(library)
        if "." in before and after["."] != before["."]:  # killed before the first manifest: the time is lost
            after["."] = before["."]
        assert after == before, at


@pytest.mark.parametrize("then", ["present", "absent"])
def test_killed_while_removing(patch: Runner, library: Path, then: str) -> None:
    synthetic.write(library, OLD)
    patch()
    for at in kill_points(patch, state="absent"):
        now = contents(library)
        if loadable(library):
            assert now in (OLD, KERNELS), f"a mixed set that rocBLAS would load, killed at {at}"
        patch(state=then)
        assert contents(library) == (KERNELS if then == "present" else OLD), at
        patch()
    assert contents(library) == OLD


def test_killed_while_another_build_replaces_ours(patch: Runner, library: Path, tmp_path: Path) -> None:
    before = snapshot(library)
    other = synthetic.kernels("", seed="b")
    second = synthetic.arch(tmp_path / "second.pkg.tar.zst", {**synthetic.amd(), **other})
    patch()
    for at in kill_points(patch, src=str(second)):
        if loadable(library):
            assert contents(library) in (KERNELS, other), at
        patch(src=str(second))
        assert contents(library) == other, at
        patch(state="absent")
        after = snapshot(library)
        after["."] = before["."]
        assert after == before, at
        patch()


def test_a_recovered_run_says_so(patch: Runner, library: Path) -> None:
    killed(patch, 16)
    assert journal.pending(library)
    outcome = patch(check_mode=True)
    assert journal.pending(library)
    assert outcome["changed"]
    assert "interrupted" in "".join(patch()["warnings"])
    assert not patch()["warnings"]


@pytest.mark.parametrize("free", [0, 2, 6, 12])
def test_full_disk(patch: Runner, library: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Writing fails as on a full disk after so many writes."""
    real, left = os.write, [free]

    def write(fd: int, data: bytes) -> int:
        if str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(str(library)):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, os.strerror(28))
        return real(fd, data)

    before = snapshot(library)
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(RocblasError, match=r"No space left on device.*Nothing was changed"):
        patch()
    monkeypatch.undo()
    after = snapshot(library)
    after["."] = before["."]
    assert after == before


def test_a_flush_that_fails_is_not_swallowed(patch: Runner, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(stage.os, "fsync", fail)
    with pytest.raises(RocblasError, match="Input/output error"):
        patch()
    monkeypatch.undo()
    assert not loadable(library)


def test_peak_memory(package: Path, rocm: Path, repo_root: Path) -> None:
    """64 MiB is the bar; a package of this size must stay far below it."""
    code = (
        "import re, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from mi50.rocblas.run import run; from mi50.rocblas.request import Request\n"
        "run(Request(dest=sys.argv[2], src=sys.argv[3]))\n"
        # Not ru_maxrss: that includes what the parent had when it forked.
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    argv = [sys.executable, "-c", code, str(repo_root / "module_utils"), str(rocm), str(package)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40 * 1024
