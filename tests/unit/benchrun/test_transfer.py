"""Results come home piece by piece, whole, and nothing is overwritten."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from mi50.benchrun.transfer import TransferError, exclusive, inventory, pieces, receive


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    (folder / "raw/e").mkdir(parents=True)
    (folder / "e.jsonl").write_bytes(b'{"a":1}\n{"b":2}\n')
    (folder / "raw/e/1.gz").write_bytes(bytes(range(256)) * 40)
    (folder / "progress.json").write_text("{}")
    return folder


def sync(there: Path, here: Path, limit: int = 1 << 20) -> int:
    calls = 0
    while True:
        found = pieces(there, inventory(here) if here.exists() else {}, limit)
        for piece in found["pieces"]:
            receive(here, piece)
        calls += 1
        if not found["more"]:
            return calls


@pytest.mark.parametrize("limit", [1 << 20, 1000, 17])
def test_everything_but_the_progress_arrives(there: Path, tmp_path: Path, limit: int) -> None:
    here = tmp_path / "copy"
    calls = sync(there, here, limit)
    assert {path: value["sha256"] for path, value in inventory(here).items()} == {
        path: value["sha256"] for path, value in inventory(there).items()
    }
    assert not (here / "progress.json").exists()
    assert (calls > 1) == (limit < 10000)


def test_only_what_is_new_is_sent(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "copy"
    sync(there, here)
    assert pieces(there, inventory(here))["pieces"] == []
    with (there / "e.jsonl").open("ab") as stream:
        stream.write(b'{"c":3}\n')
    (piece,) = pieces(there, inventory(here))["pieces"]
    assert (piece["path"], piece["offset"], base64.b64decode(piece["data"])) == ("e.jsonl", 16, b'{"c":3}\n')


def test_half_a_line_waits(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "copy"
    with (there / "e.jsonl").open("ab") as stream:
        stream.write(b'{"half":')
    sync(there, here)
    assert (here / "e.jsonl").read_bytes() == b'{"a":1}\n{"b":2}\n'
    with (there / "e.jsonl").open("ab") as stream:
        stream.write(b"3}\n")
    sync(there, here)
    assert (here / "e.jsonl").read_bytes() == (there / "e.jsonl").read_bytes()


def test_a_rebuilt_node_does_not_erase_what_was_measured(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "copy"
    sync(there, here)
    (there / "e.jsonl").write_bytes(b'{"new":1}\n')
    sync(there, here)
    assert (here / "e.jsonl").read_bytes() == b'{"new":1}\n'
    assert (here / "e.earlier-1.jsonl").read_bytes() == b'{"a":1}\n{"b":2}\n'


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TransferError):
        receive(tmp_path / "copy", {"path": name, "offset": 0, "data": ""})


def test_a_piece_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="has 0 bytes"):
        receive(tmp_path, {"path": "e.jsonl", "offset": 5, "data": ""})


def test_two_controllers_of_one_run_take_turns(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "copy"

    def call() -> None:
        for _ in range(5):
            with exclusive(here):
                sync(there, here, 100)
            with (there / "e.jsonl").open("ab") as stream:
                stream.write(b'{"more":1}\n')

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sync(there, here)
    assert sorted(path.name for path in here.glob("*.jsonl")) == ["e.jsonl"]
    assert (here / "e.jsonl").read_bytes() == (there / "e.jsonl").read_bytes()
