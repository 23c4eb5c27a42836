"""Whatever is wrong with source or destination: one clear error, and the library as it was."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from mi50.rocblas import collect
from mi50.rocblas.errors import RocblasError

from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner, snapshot

SS = synthetic.BASE.format("SS")
INSIDE = synthetic.LIBRARY


def refused(patch: Runner, library: Path, words: str, **options: object) -> None:
    before = snapshot(library.parents[2])
    for check_mode in (True, False):
        with pytest.raises(RocblasError, match=words):
            patch(check_mode=check_mode, **options)
        after = snapshot(library.parents[2])
        # A staging directory came and went: the one thing that may differ is the directory's own time.
        assert {k: v for k, v in after.items() if k != "lib/rocblas/library"} == {
            k: v for k, v in before.items() if k != "lib/rocblas/library"
        }


def without(name: str) -> synthetic.Files:
    return {key: data for key, data in synthetic.full().items() if key != name}


def changed(name: str, data: bytes) -> synthetic.Files:
    return {**synthetic.full(), name: data}


CONTENT = {
    "no kernels": (synthetic.amd(), "holds no gfx906 kernels"),
    "no index": (without(synthetic.INDEX), "TensileLibrary_lazy_gfx906.dat is missing"),
    "no catalog": (without(f"{SS}_gfx906.dat"), rf"missing {SS}_gfx906.dat \(named by TensileLibrary_lazy"),
    "no assembly": (without(f"{SS}_gfx906.co"), f"missing {SS}_gfx906.co"),
    "no source kernels": (without(f"{SS}_gfx906-xnack-.hsaco"), f"missing {SS}_gfx906.hsaco"),
    "no fallback kernels": (without(f"{SS}_fallback_gfx906-xnack-.hsaco"), "missing .*fallback_gfx906.hsaco"),
    "no rocBLAS kernels": (without("Kernels.so-000-gfx906-xnack-.hsaco"), "missing Kernels.so-000"),
    "another architecture renamed": (
        changed(f"{SS}_gfx906.co", synthetic.code_object(synthetic.GFX908)),
        "its code is for gfx908, not for gfx906",
    ),
    "a text renamed": (changed(f"{SS}_gfx906.co", b"<html>"), "neither an ELF file nor an offload bundle"),
    "a cut code object": (changed(f"{SS}_gfx906.co", synthetic.code_object()[:200]), "truncated"),
    "a damaged index": (changed(synthetic.INDEX, b"\x81\xa1"), "is damaged"),
    "an index of nothing": (changed(synthetic.INDEX, b"\x80"), "no index of Tensile catalogs"),
    "an index that climbs": (changed(synthetic.INDEX, synthetic.index(["TensileLibrary/../x"])), "no index of Tensile"),
}


@pytest.mark.parametrize("case", CONTENT)
def test_content(patch: Runner, library: Path, tmp_path: Path, case: str) -> None:
    files, words = CONTENT[case]
    refused(patch, library, words, src=str(synthetic.arch(tmp_path / "bad.pkg.tar.zst", files)))


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"") -> synthetic.Edit:
    return lambda tar: synthetic.add(tar, name, data, kind, "elsewhere")


MEMBERS = {
    "climbs": (member("opt/../../etc/x_gfx906.co"), "points out of the archive"),
    "climbs, unwanted": (member("opt/../../etc/passwd"), "points out of the archive"),
    "absolute": (member("/etc/x_gfx906.co"), "points out of the archive"),
    "symbolic link": (member(f"{INSIDE}/TensileLibrary_x_gfx906.co", tarfile.SYMTYPE), "is a link"),
    "hard link": (member(f"{INSIDE}/TensileLibrary_x_gfx906.co", tarfile.LNKTYPE), "is a link"),
    "device": (member(f"{INSIDE}/null", tarfile.CHRTYPE), "device node"),
    "pipe": (member(f"{INSIDE}/pipe", tarfile.FIFOTYPE), "device node"),
    "twice": (member(f"{INSIDE}/{synthetic.INDEX}", data=b"again"), "is in it twice"),
    "other directory": (member("other/TensileLibrary_x_gfx906.co", data=synthetic.code_object()), "lie in both"),
    "second metadata": (member(".PKGINFO", data=b"pkgver = 6.4.3-3"), "in it twice"),
    "unlisted": (member(f"{INSIDE}/TensileLibrary_x_gfx906.co", data=synthetic.code_object()), "refused as foreign"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_member(patch: Runner, library: Path, tmp_path: Path, case: str) -> None:
    edit, words = MEMBERS[case]
    refused(patch, library, words, src=str(synthetic.arch(tmp_path / "bad.pkg.tar.zst", synthetic.full(), edit)))


def test_listed_but_lost(patch: Runner, library: Path, tmp_path: Path) -> None:
    extra = {**synthetic.full(), "TensileLibrary_x_gfx906.co": synthetic.code_object()}
    bad = synthetic.arch(tmp_path / "bad.pkg.tar.zst", synthetic.full(), listed=extra)
    refused(patch, library, "lists but does not hold TensileLibrary_x_gfx906.co", src=str(bad))


def test_wrong_digest(patch: Runner, library: Path, tmp_path: Path) -> None:
    listed = changed(f"{SS}_gfx906.co", synthetic.code_object(seed="other"))
    bad = synthetic.arch(tmp_path / "bad.pkg.tar.zst", synthetic.full(), listed=listed)
    refused(patch, library, "does not have the digest the package lists", src=str(bad))


def test_the_current_package_under_the_name_of_the_old(patch: Runner, library: Path, tmp_path: Path) -> None:
    bad = synthetic.arch(tmp_path / "rocblas-6.4.3-3-x86_64.pkg.tar.zst", synthetic.full(), version="7.2.4-2")
    refused(patch, library, r"holds version 7\.2\.4-2 by its own metadata, expected 6\.4\.3", src=str(bad))


def test_librocblas_of_another_release(patch: Runner, library: Path, tmp_path: Path) -> None:
    bad = synthetic.arch(tmp_path / "bad.pkg.tar.zst", synthetic.full(), so="5.0")
    refused(patch, library, "made for librocblas 5.0", src=str(bad))
    assert patch(src=str(bad), allow_version_mismatch=True)["warnings"]


def test_catalogs_of_another_release(patch: Runner, library: Path, tmp_path: Path) -> None:
    other = {**synthetic.amd("4.5"), **synthetic.kernels(version="4.5")}
    bad = synthetic.arch(tmp_path / "bad.pkg.tar.zst", other)
    refused(patch, library, "two rocBLAS releases", src=str(bad))


def test_catalogs_that_differ_but_name_the_same_kernels_agree(patch: Runner, library: Path, tmp_path: Path) -> None:
    name = f"{SS}_fallback.dat"
    other = changed(name, synthetic.catalog("SS", "4.4", source=True, extra="built elsewhere"))
    assert patch(src=str(synthetic.arch(tmp_path / "good.pkg.tar.zst", other)))["changed"]


def test_a_catalog_the_destination_lacks(patch: Runner, library: Path) -> None:
    (library / f"{SS}_fallback.dat").unlink()
    refused(patch, library, "lacks .*_fallback.dat")
    before = snapshot(library)
    assert f"{SS}_fallback.dat" in patch(allow_version_mismatch=True)["files"]["added"]
    assert not patch(allow_version_mismatch=True)["changed"]
    patch(state="absent")
    assert snapshot(library) == before


def test_count(patch: Runner, library: Path) -> None:
    refused(patch, library, "gfx906 files, expected 156", expected_files=156)


@pytest.mark.usefixtures("either_zstd")
def test_truncated_at_any_byte(patch: Runner, library: Path, package: Path, tmp_path: Path) -> None:
    whole = package.read_bytes()
    bad = tmp_path / "cut.pkg.tar.zst"
    for end in [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1]:
        bad.write_bytes(whole[:end])
        refused(patch, library, "damaged|cut off|empty|not a package", src=str(bad))


@pytest.mark.usefixtures("either_zstd")
@pytest.mark.parametrize("kind", ["arch", "deb"])
def test_flipped_bytes(patch: Runner, library: Path, package: Path, tmp_path: Path, kind: str) -> None:
    good = package if kind == "arch" else synthetic.deb(tmp_path / "good.deb", synthetic.full())
    whole = bytearray(good.read_bytes())
    bad = tmp_path / "flipped"
    before = {path.name: path.read_bytes() for path in library.iterdir()}
    for number in range(60):
        at = number * 7919 % len(whole)  # a prime: spread over the file, the same in every run
        whole[at] ^= 1 << number % 8
        bad.write_bytes(whole)
        whole[:] = good.read_bytes()
        try:
            patch(src=str(bad), version=None)
        except RocblasError:
            assert {path.name: path.read_bytes() for path in library.iterdir()} == before
        else:  # a bit nobody reads, such as a time: what was installed must be right all the same
            assert patch(src=str(bad), version=None, verify="sha256")["changed"] is False
            assert all((library / name).read_bytes() == data for name, data in synthetic.kernels("-xnack-").items())
            patch(state="absent")


@pytest.mark.usefixtures("either_zstd")
def test_garbage_behind_the_archive(patch: Runner, library: Path, package: Path) -> None:
    """The tar within is whole; only the decompressor's exit code tells."""
    package.write_bytes(package.read_bytes() + b"garbage")
    refused(patch, library, "zstd says it is damaged")


def test_a_deb_that_ends_elsewhere(patch: Runner, library: Path, tmp_path: Path) -> None:
    deb = synthetic.deb(tmp_path / "x.deb", synthetic.full())
    if deb.stat().st_size % 2:
        raise AssertionError("an ar archive has an even size")
    whole = deb.read_bytes()
    for data in (whole + b"\n", whole[:-1]):
        deb.write_bytes(data)
        refused(patch, library, "does not end with its data.tar|damaged|cut off", src=str(deb), version=None)


def test_an_arch_package_without_digests(patch: Runner, library: Path, tmp_path: Path) -> None:
    members = synthetic.arch_members(synthetic.full())
    del members[".MTREE"]
    bad = tmp_path / "bad.pkg.tar.zst"
    bad.write_bytes(synthetic.zstd(synthetic.tar_bytes(members)))
    refused(patch, library, "has no .MTREE", src=str(bad))


def test_an_archive_that_would_fill_the_disk(
    patch: Runner, library: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_TOTAL", 1000)
    refused(patch, library, "beyond 1000 bytes", src=str(package))


def test_a_web_page_saved_as_package(patch: Runner, library: Path, tmp_path: Path) -> None:
    page = tmp_path / "rocblas-6.4.3-3-x86_64.pkg.tar.zst"
    page.write_text("<!DOCTYPE html><title>404</title>")
    refused(patch, library, "not a package.*error page", src=str(page))


def test_a_plain_tar_states_no_version(patch: Runner, library: Path, tmp_path: Path) -> None:
    plain = tmp_path / "x.tar"
    plain.write_bytes(synthetic.tar_bytes(synthetic.full()))
    refused(patch, library, "states no version", src=str(plain))


def test_missing_source(patch: Runner, library: Path) -> None:
    refused(patch, library, "cannot be read", src="/nonexistent/rocblas.pkg.tar.zst")


@pytest.mark.usefixtures("no_libzstd")
def test_missing_decompressor(patch: Runner, library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(patch, library, "install the package zstd")


@pytest.mark.parametrize("name", [".gfx906_rocblas.journal", ".gfx906_rocblas.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "files": {"../x": 1}}'])
def test_damaged_private_files(patch: Runner, library: Path, name: str, text: str) -> None:
    (library / name).write_text(text)
    with pytest.raises(RocblasError, match="damaged"):
        patch()
    assert not (library / synthetic.INDEX).exists()
