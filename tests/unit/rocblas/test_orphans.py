"""Kernels in a release that is gone are found, those of one that is installed are left alone."""

from __future__ import annotations

from pathlib import Path

from mi50.rocblas import names, orphans


def release(root: Path, number: str, *, packaged: bool, ours: bool = True) -> Path:
    prefix = root / f"opt/rocm-{number}"
    library = prefix / "lib/rocblas/library"
    library.mkdir(parents=True)
    if ours:
        (library / names.MANIFEST).write_text("{}")
    if packaged:
        (prefix / ".info").mkdir()
        (prefix / ".info/version").write_text(number)
    return prefix


def test_only_what_has_no_packages_counts(tmp_path: Path) -> None:
    gone = release(tmp_path, "6.4.3", packaged=False)
    release(tmp_path, "6.3.3", packaged=True)
    release(tmp_path, "7.0.0", packaged=False, ours=False)
    (tmp_path / "opt/rocm-link").symlink_to(gone)
    assert orphans.find(["/opt/rocm-*"], tmp_path) == [str(gone)]


def test_empty_folders_go_and_others_stay(tmp_path: Path) -> None:
    prefix = release(tmp_path, "6.4.3", packaged=False)
    (prefix / "lib/rocblas/library" / names.MANIFEST).unlink()
    (prefix / "share").mkdir()
    (prefix / "share/mine").write_text("x")
    assert orphans.tidy(prefix) is False
    assert sorted(path.name for path in prefix.rglob("*")) == ["mine", "share"]
    (prefix / "share/mine").unlink()
    assert orphans.tidy(prefix) is True
