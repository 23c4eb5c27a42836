"""What becomes of the source: not needed while all is whole, not kept when it is to blame, removed when asked."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50.rocblas.errors import RocblasError
from mi50.rocblas.request import Request
from mi50.rocblas.run import run_all
from mi50.rocblas.stage import Stage, unwritable

from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner, contents, snapshot

URL = "https://mirror.example/rocblas-6.4.3-3-x86_64.pkg.tar.zst"
KERNELS = synthetic.kernels("-xnack-")


def manifest(library: Path) -> dict:
    return json.loads((library / ".gfx906_rocblas.json").read_text())["source"]


def test_a_whole_set_needs_no_source(patch: Runner, package: Path, library: Path) -> None:
    patch(source_id=URL)
    package.unlink()
    before = snapshot(library)
    for options in ({"defer": True}, {}, {"verify": "sha256", "defer": True}, {"check_mode": True, "defer": True}):
        outcome = patch(source_id=URL, **options)
        assert (outcome["changed"], outcome["needs_source"]) == (False, False)
    assert snapshot(library) == before


def test_nothing_installed_asks_for_the_source_and_does_nothing(patch: Runner, package: Path, library: Path) -> None:
    before = snapshot(library)
    package.unlink()
    outcome = patch(source_id=URL, defer=True)
    assert (outcome["changed"], outcome["needs_source"]) == (False, True)
    planned = patch(source_id=URL, defer=True, check_mode=True)
    assert (planned["changed"], planned["needs_source"]) == (True, True)
    assert URL in planned["diff"]["after"]
    assert snapshot(library) == before


@pytest.mark.parametrize(
    "change",
    ["address", "digest", "version", "count", "signature", "missing file", "other bytes", "same size", "no address"],
)
def test_whatever_differs_asks_for_the_source(patch: Runner, package: Path, library: Path, change: str) -> None:
    patch(source_id=URL)
    package.unlink()
    victim = library / synthetic.INDEX
    options: dict[str, object] = {"source_id": URL, "defer": True}
    if change == "missing file":
        victim.unlink()
    elif change == "other bytes":
        victim.write_bytes(b"x")
    elif change == "same size":
        status = victim.stat()
        victim.write_bytes(b"x" * status.st_size)
        os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert not patch(**options)["needs_source"]  # what `stat` cannot see
        options["verify"] = "sha256"
    else:
        options |= {
            "address": {"source_id": f"{URL}2"},
            "digest": {"sha256": "0" * 64},
            "version": {"version": "6.4.4"},
            "count": {"expected_files": 3},
            "signature": {"signature": "/x.sig", "keyring": "/x.gpg"},
            "no address": {"source_id": None},
        }[change]
    assert patch(**options)["needs_source"]


def test_a_new_address_of_the_same_bytes_is_recorded_once(patch: Runner, package: Path, library: Path) -> None:
    patch()
    assert manifest(library)["id"] is None
    assert not patch(source_id=URL)["changed"]
    assert manifest(library)["id"] == URL
    package.unlink()
    assert not patch(source_id=URL, defer=True)["needs_source"]


def test_defer_takes_what_is_there_already(patch: Runner, package: Path) -> None:
    """A source that still lies where it was installed from is not fetched again for want of an address."""
    patch()
    assert not patch(defer=True)["needs_source"]


def test_without_an_address_a_source_that_is_gone_is_missed(patch: Runner, package: Path) -> None:
    patch()
    package.unlink()
    assert patch(defer=True)["needs_source"]
    with pytest.raises(RocblasError, match="cannot be read"):
        patch()


def test_digest(patch: Runner, package: Path, library: Path) -> None:
    with pytest.raises(RocblasError, match=r"its sha256 is .*, expected 00000"):
        patch(sha256="0" * 64)
    assert not contents(library)
    assert patch(sha256=hashlib.sha256(package.read_bytes()).hexdigest().upper())["changed"]


@pytest.fixture
def cached(package: Path) -> Callable[[], set[str]]:
    for path in (Path(f"{package}.fetched.json"), Path(f"{package}.sig"), Path(f"{package}.sig.fetched.json")):
        path.write_text("x")
    return lambda: {path.name.removeprefix(package.name) for path in package.parent.glob(f"{package.name}*")}


EVERYTHING = {"", ".fetched.json", ".sig", ".sig.fetched.json"}


def test_a_rejected_source_does_not_stay(rocm: Path, package: Path, cached: Callable[[], set[str]]) -> None:
    package.write_bytes(package.read_bytes()[:-20])
    request = Request("", src=str(package), discard_source="rejected")
    assert run_all(request._replace(check_mode=True), [str(rocm)])[1].rejected
    assert run_all(request._replace(discard_source="never"), [str(rocm)])[1].rejected
    assert cached() == EVERYTHING
    # The signature goes with it; here it was not asked for, so it stays.
    result, failure = run_all(request, [str(rocm)])
    assert failure.rejected
    assert "damaged" in failure.message
    assert failure.message.endswith(f"The cached copy {package} was removed; the next run fetches it anew.")
    assert cached() == {".sig", ".sig.fetched.json"}
    assert not result["changed"]


def test_a_rejected_signature_goes_too(rocm: Path, package: Path, cached: Callable[[], set[str]]) -> None:
    keyring = package.with_name("k.gpg")
    keyring.write_bytes(b"")
    request = Request("", src=str(package), signature=f"{package}.sig", keyring=str(keyring), discard_source="rejected")
    assert run_all(request, [str(rocm)])[1].rejected
    assert cached() == set()


@pytest.mark.usefixtures("no_libzstd")
@pytest.mark.parametrize("trouble", ["locked", "no space", "no destination", "no tool", "other release"])
def test_trouble_elsewhere_keeps_the_source(
    rocm: Path,
    package: Path,
    library: Path,
    cached: Callable[[], set[str]],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    fd = os.open(library, os.O_RDONLY)
    if trouble == "locked":
        fcntl.flock(fd, fcntl.LOCK_EX)
    elif trouble == "no space":

        def full(stage: Stage, *_: object) -> int:
            raise unwritable(stage.path, OSError(errno.ENOSPC, "No space left on device"))

        monkeypatch.setattr(Stage, "create", full)
    elif trouble == "no tool":
        monkeypatch.setenv("PATH", "/nonexistent/gone")
    elif trouble == "other release":
        (rocm / "lib/librocblas.so.4.4.60403").rename(rocm / "lib/librocblas.so.5.0.70000")
    dest = "/nonexistent/gone" if trouble == "no destination" else str(rocm)
    failure = run_all(Request("", src=str(package), discard_source="always"), [dest])[1]
    os.close(fd)
    assert failure is not None
    assert not failure.rejected
    assert cached() == EVERYTHING


def test_always_removes_the_source_once_every_destination_is_whole(
    rocm: Path, package: Path, tmp_path: Path, cached: Callable[[], set[str]]
) -> None:
    second = synthetic.prefix(tmp_path / "second")
    both = [str(rocm), str(second)]
    request = Request("", src=str(package), source_id=URL, discard_source="always")
    asked = run_all(request._replace(defer=True), both)[0]
    assert asked["needs_source"]
    assert cached() == EVERYTHING
    result, failure = run_all(request, both)
    assert failure is None
    assert [one["changed"] for one in result["libraries"]] == [True, True]
    assert len(result["diff"]) == 2
    assert cached() == {".sig", ".sig.fetched.json"}
    assert contents(second / "lib/rocblas/library") == KERNELS


def test_the_first_error_ends_the_run_and_names_what_was_done(rocm: Path, package: Path) -> None:
    result, failure = run_all(Request("", src=str(package)), [str(rocm), "/nonexistent/gone"])
    assert "/nonexistent/gone: no such directory" in failure.message
    assert result["changed"]
    assert [one["dest"] for one in result["libraries"]] == [str(rocm)]


def test_a_directory_is_never_removed(rocm: Path, tmp_path: Path) -> None:
    source = synthetic.write(tmp_path / "unpacked", synthetic.full())
    assert run_all(Request("", src=str(source), discard_source="always"), [str(rocm)])[0]["changed"]
    assert source.is_dir()
