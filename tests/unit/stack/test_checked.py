"""A stack that the schema passed is not checked again; any other content is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mi50.stack import checked, load

STACKS = Path(__file__).resolve().parents[3] / "stacks"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own copies of the stacks, an own cache, and no memory of this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(load, "_CACHE", {})
    shutil.copytree(STACKS, tmp_path / "stacks")
    return tmp_path / "stacks"


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths in the order in which the schema was asked."""
    asked: list[Path] = []
    real = load.validate

    def spy(data: load.Parsed, schema: dict, path: Path) -> None:
        asked.append(path)
        real(data, schema, path)

    monkeypatch.setattr(load, "validate", spy)
    return asked


def fresh() -> None:
    """What another worker process starts with."""
    load._CACHE.clear()


def test_once_for_the_same_bytes(folder: Path, validated: list[Path]) -> None:
    first = load.load_stack("rocm-6.4.3", folder)
    fresh()
    assert load.load_stack("rocm-6.4.3", folder) == first
    assert len(validated) == 1
    assert checked.cache_dir().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["rocm-6.4.3.yml", "schema.json"])
def test_again_for_any_other_byte(folder: Path, validated: list[Path], name: str) -> None:
    load.load_stack("rocm-6.4.3", folder)
    with (folder / name).open("a") as stream:
        stream.write("\n")
    fresh()
    load.load_stack("rocm-6.4.3", folder)
    assert len(validated) == 2


def test_a_refused_stack_is_refused_every_time(folder: Path) -> None:
    with (folder / "rocm-6.4.3.yml").open("a") as stream:
        stream.write("surprise: true\n")
    for _attempt in range(2):
        fresh()
        with pytest.raises(load.StackError, match="surprise"):
            load.load_stack("rocm-6.4.3", folder)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    folder: Path, validated: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _attempt in range(2):
        fresh()
        load.load_stack("rocm-6.4.3", folder)
    assert len(validated) == 2
