"""Packages that were forced off are seen by those that need them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mi50.verify import depends

ROW = "Package: {}\nStatus: {} ok installed\nVersion: {}\n{}\n"


def status(tmp_path: Path, *rows: tuple[str, str, str]) -> Path:
    path = tmp_path / "var/lib/dpkg/status"
    path.parent.mkdir(parents=True)
    path.write_text("".join(ROW.format(name, "install", version, fields) for name, version, fields in rows))
    return tmp_path


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("Depends: hipblas (= 2.4)\n", []),
        ("Depends: hipblas (= 2.3)\n", ["sdk needs hipblas (= 2.3)"]),
        ("Depends: gone\n", ["sdk needs gone"]),
        ("Pre-Depends: gone\n", ["sdk needs gone"]),
        ("Depends: gone | hipblas\n", []),
        ("Depends: virtual, hipblas:any (>= 1)\n", []),
        ("Depends: virtual (= 9)\n", []),
        ("Depends: virtual (= 8)\n", ["sdk needs virtual (= 8)"]),
        ("Recommends: gone\n", []),
    ],
)
def test_needs(tmp_path: Path, fields: str, found: list[str]) -> None:
    root = status(tmp_path, ("sdk", "1", fields), ("hipblas", "2.4", "Provides: virtual (= 9)\n"))
    assert depends.unmet(root) == found


def test_no_dpkg(tmp_path: Path) -> None:
    assert depends.unmet(tmp_path) is None
