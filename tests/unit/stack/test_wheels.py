"""Locking the wheels of an index: from its pages, once, binding from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.stack.api import get_stack
from mi50.stack.load import StackError
from mi50.stack.lock import record, unlocked
from mi50.stack.wheels import entry

ROOT = Path(__file__).resolve().parents[3]
INDEX = "torch-index"


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """An index with every project of torch's family for two Pythons, and what must not be locked."""
    for project, version in (("torch", "2.9.0"), ("torchvision", "0.24.0"), ("torchaudio", "2.9.0")):
        names = [f"{project}-{version}+rocm6.4-cp{tag}-cp{tag}-manylinux_2_28_x86_64.whl" for tag in ("311", "312")]
        names += [f"{project}-2.8.0+rocm6.4-cp311-cp311-manylinux_2_28_x86_64.whl"]
        names += [f"{project}-{version}+rocm6.4-cp311-cp311-win_amd64.whl"]
        links = (f'<a href="/{name}#sha256={format(number, "064x")}">x</a>' for number, name in enumerate(names))
        page = tmp_path / "rocm6.4" / project / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("".join(links))
    return tmp_path


def stack(pages: Path, lock: Path | None = None) -> dict[str, Any]:
    return dict(get_stack("rocm-6.4.3", ROOT / "stacks", lock, {"mi50_url_pytorch": pages.as_uri()}))


def test_every_python_of_the_stacks_versions_is_locked(pages: Path, tmp_path: Path) -> None:
    known = stack(pages)
    assert INDEX in unlocked(known)
    found = entry(known, known["artifacts"][INDEX])
    assert len(found["wheels"]) == 6
    assert found["wheels"]["torch-2.9.0+rocm6.4-cp312-cp312-manylinux_2_28_x86_64.whl"] == format(1, "064x")
    lock = tmp_path / "x.lock.yml"
    assert record(lock, "rocm-6.4.3", INDEX, found) is True
    assert record(lock, "rocm-6.4.3", INDEX, found) is False
    merged = stack(pages, lock)
    assert merged["artifacts"][INDEX]["wheels"] == found["wheels"]
    assert INDEX not in unlocked(merged)


def test_a_digest_that_changed_is_refused(pages: Path, tmp_path: Path) -> None:
    known = stack(pages)
    found = entry(known, known["artifacts"][INDEX])
    lock = tmp_path / "x.lock.yml"
    record(lock, "rocm-6.4.3", INDEX, found)
    before = lock.read_text()
    file = next(iter(found["wheels"]))
    with pytest.raises(StackError, match="the file changed upstream or on the way"):
        record(lock, "rocm-6.4.3", INDEX, {**found, "wheels": {file: "f" * 64}})
    assert lock.read_text() == before


def test_an_index_without_digests_or_versions_locks_nothing(pages: Path) -> None:
    known = stack(pages)
    page = pages / "rocm6.4/torchaudio/index.html"
    page.write_text(page.read_text().replace("#sha256=", "#md5="))
    with pytest.raises(StackError, match=r"states no sha256 for torchaudio"):
        entry(known, known["artifacts"][INDEX])
    page.write_text("")
    with pytest.raises(StackError, match=r"no wheel of torchaudio 2\.9\.0\+rocm6\.4"):
        entry(known, known["artifacts"][INDEX])
