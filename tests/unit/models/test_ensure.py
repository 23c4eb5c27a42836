"""Models on a node: fetched once, resumed after cuts, shared, replaced as a whole, removed only when asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from mi50.fetch.errors import FetchError, Interrupted
from mi50.models import ensure, store
from mi50.models.ensure import Surroundings
from mi50.models.hub import Endpoints

from tests.unit.models import made_up
from tests.unit.models.conftest import COMMIT, REPO, Hub, model

NAME = "model-Q8_0.gguf"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_whole_and_then_nothing(hub: Hub, around: Surroundings) -> None:
    first = ensure.ensure([model()], [], around)
    data = hub.files[NAME]
    assert first["changed"]
    assert first["bytes_received"] == len(data)
    assert first["models"][0]["files"] == [{"path": NAME, "sha256": sha(data), "size": len(data)}]
    assert (around.store / "m" / NAME).read_bytes() == data
    assert (around.store / "m" / NAME).stat().st_mode & 0o777 == 0o644
    assert tree(around.store) == {f"m/{NAME}", "m/.mi50-model.json", ".lock"}
    hub.log.clear()
    again = ensure.ensure([model()], [], around)
    assert (again["changed"], again["bytes_received"], again["present"]) == (False, 0, ["m"])
    assert hub.log == []
    assert not (around.progress or Path()).exists()


def test_check_mode_fetches_nothing(hub: Hub, around: Surroundings) -> None:
    result = ensure.ensure([model()], [], around, check_mode=True)
    assert result["changed"]
    assert result["models"][0]["bytes"] == len(hub.files[NAME])
    assert hub.bodies() == []
    assert not around.store.exists()


def test_three_cuts_and_the_right_digest(hub: Hub, around: Surroundings) -> None:
    """Each run breaks off for good after some bytes: the next goes on there, and no byte crosses the network twice."""
    size = len(hub.files[NAME])
    pieces = [1000, 2000, 3000]
    for piece in pieces:
        hub.cut = [piece, 0, 0, 0, 0, 0]
        with pytest.raises(Interrupted):
            ensure.ensure([model()], [], around)
        hub.log, seen = [], hub.bodies()
        assert [entry[1] for entry in seen][:1] == (
            [f"bytes={sum(pieces[: pieces.index(piece)])}-"] if piece > 1000 else [""]
        )
    hub.cut = []
    last = ensure.ensure([model()], [], around)
    assert last["bytes_received"] == size - sum(pieces)
    assert (around.store / "m" / NAME).read_bytes() == hub.files[NAME]
    assert [entry[1] for entry in hub.bodies()] == [f"bytes={sum(pieces)}-"]


def test_many_cuts_within_one_run(hub: Hub, around: Surroundings) -> None:
    """A line that breaks every few bytes is no reason to give up while something comes."""
    hub.cut = [500] * 20
    assert ensure.ensure([model()], [], around)["bytes_received"] == len(hub.files[NAME])


def test_goes_on_from_another_mirror(hub: Hub, other: Hub, around: Surroundings) -> None:
    hub.cut = [4000, 0, 0, 0, 0]
    with pytest.raises(Interrupted):
        ensure.ensure([model()], [], around)
    other.files = hub.files
    elsewhere = around._replace(hubs=Endpoints({"modelscope": other.url}))
    moved = model(source="modelscope", revision="master")
    assert ensure.ensure([moved], [], elsewhere)["bytes_received"] == len(hub.files[NAME]) - 4000
    assert (around.store / "m" / NAME).read_bytes() == hub.files[NAME]


def test_starts_anew_where_a_server_sends_no_pieces(hub: Hub, around: Surroundings) -> None:
    hub.cut = [4000, 0, 0, 0, 0]
    with pytest.raises(Interrupted):
        ensure.ensure([model()], [], around)
    hub.ranges = False
    assert ensure.ensure([model()], [], around)["bytes_received"] == len(hub.files[NAME])


def test_branch_becomes_its_commit_with_a_warning(hub: Hub, around: Surroundings) -> None:
    result = ensure.ensure([model(revision="main")], [], around)
    entry = store.load(around.store, "m")
    assert entry
    assert entry.origin["revision"] == COMMIT
    assert ensure.remarks(result) == ["m: nothing pins it: give a commit as revision, or the sha256 of its files."]
    assert ensure.remarks(ensure.ensure([model()], [], around)) == []


def test_with_digests_a_plain_mirror_is_enough_and_its_name_does_not_matter(hub: Hub, around: Surroundings) -> None:
    hub.api = False
    files = [{"path": NAME, "sha256": sha(hub.files[NAME])}]
    assert ensure.ensure([model(files=files)], [], around)["changed"]
    hub.log.clear()
    for same in (model(files=files, revision="main"), model(files=files, source="url", url=f"{hub.url}/x", repo=None)):
        assert not ensure.ensure([same], [], around)["changed"]
    assert hub.log == []


def test_repository_without_a_list_of_files(hub: Hub, around: Surroundings) -> None:
    metadata = json.dumps({"a": {"dtype": "F16", "shape": [600], "data_offsets": [0, 1200]}}).encode()
    hub.files = {
        "config.json": b"{}",
        "model-00001-of-00001.safetensors": len(metadata).to_bytes(8, "little") + metadata + bytes(1200),
        "tokenizer.json": b"{}",
        "README.md": b"words",
        "original/consolidated.safetensors": bytes(5000),
        "pytorch_model.bin": bytes(5000),
    }
    ensure.ensure([model(files=None)], [], around)
    assert tree(around.store / "m") == {
        ".mi50-model.json", "config.json", "model-00001-of-00001.safetensors", "tokenizer.json",
    }  # fmt: skip


def test_two_models_share_a_file(hub: Hub, around: Surroundings) -> None:
    ensure.ensure([model()], [], around)
    hub.log.clear()
    result = ensure.ensure([model(), model(name="other")], [], around)
    assert result["bytes_received"] == 0
    assert hub.bodies() == []
    assert (around.store / "m" / NAME).samefile(around.store / "other" / NAME)


def test_path_is_linked_and_not_stored_twice(around: Surroundings, tmp_path: Path) -> None:
    metadata, tensors = made_up.small()
    there = made_up.write(tmp_path / "mine.gguf", metadata, tensors)
    there.chmod(0o644)
    wanted = model(source="path", path=str(there), files=None)
    result = ensure.ensure([wanted], [], around)
    assert (around.store / "m" / "mine.gguf").samefile(there)
    assert result["models"][0]["files"][0]["sha256"] == sha(there.read_bytes())
    assert not ensure.ensure([wanted], [], around)["changed"]


def test_path_others_cannot_read_is_copied(around: Surroundings, tmp_path: Path) -> None:
    metadata, tensors = made_up.small()
    there = made_up.write(tmp_path / "mine.gguf", metadata, tensors)
    there.chmod(0o600)
    ensure.ensure([model(source="path", path=str(there), files=None)], [], around)
    copy = around.store / "m" / "mine.gguf"
    assert not copy.samefile(there)
    assert copy.stat().st_mode & 0o777 == 0o644


def test_new_revision_takes_its_place_as_a_whole(hub: Hub, around: Surroundings) -> None:
    ensure.ensure([model()], [], around)
    old = hub.files[NAME]
    hub.files[NAME] = old[:-1] + b"!"
    new = model(files=[{"path": NAME, "sha256": sha(hub.files[NAME])}])
    hub.cut = [3000, 0, 0, 0, 0]
    with pytest.raises(Interrupted):
        ensure.ensure([new], [], around)
    assert (around.store / "m" / NAME).read_bytes() == old
    result = ensure.ensure([new], [], around)
    assert result["models"][0]["why"] == "asked for otherwise than before"
    assert (around.store / "m" / NAME).read_bytes() == hub.files[NAME]
    assert tree(around.store) == {f"m/{NAME}", "m/.mi50-model.json", ".lock"}


def test_killed_between_its_last_byte_and_its_place(
    hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mi50.models.fetch._swap", killed)
        ensure.ensure([model()], [], around)
    hub.log.clear()
    assert ensure.ensure([model()], [], around)["bytes_received"] == 0
    assert hub.bodies() == []
    assert (around.store / "m" / NAME).read_bytes() == hub.files[NAME]


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
def test_damaged_file_is_fetched_again(hub: Hub, around: Surroundings, damage: str) -> None:
    ensure.ensure([model()], [], around)
    path = around.store / "m" / NAME
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if damage == "shorter" else data[:-5] + b"-----")
    result = ensure.ensure([model()], [], around)
    assert result["models"][0]["why"].startswith("damaged: ")
    assert path.read_bytes() == data


def test_flipped_bit_under_an_old_date_is_found_by_rereading(hub: Hub, around: Surroundings) -> None:
    import os

    ensure.ensure([model()], [], around)
    path = around.store / "m" / NAME
    stamp = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not ensure.ensure([model()], [], around)["changed"]
    assert ensure.ensure([model()], [], around, reread=True)["changed"]
    assert path.read_bytes() == hub.files[NAME]


def test_another_date_alone_fetches_nothing(hub: Hub, around: Surroundings) -> None:
    import os

    ensure.ensure([model()], [], around)
    os.utime(around.store / "m" / NAME, (1, 1))
    assert not ensure.ensure([model()], [], around)["changed"]
    assert store.settled(around.store, "m", model().identity)


def test_token_goes_to_its_hub_alone(hub: Hub, other: Hub, around: Surroundings) -> None:
    other.files = hub.files
    hub.redirect = other.url
    hubs = Endpoints({"huggingface": hub.url}, {"huggingface": "hf_secret"})
    hub.cut = []
    ensure.ensure([model()], [], around._replace(hubs=hubs))
    assert {entry[3] for entry in hub.log} == {"Bearer hf_secret"}
    assert {entry[3] for entry in other.log} == {""}
    assert (around.store / "m" / NAME).read_bytes() == hub.files[NAME]


def test_progress_is_told(hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []
    original = ensure.Progress._write

    def write(self: ensure.Progress, there: int, *, force: bool) -> None:
        original(self, there, force=True)
        lines.append((around.progress or Path()).read_text())

    monkeypatch.setattr(ensure.Progress, "_write", write)
    ensure.ensure([model()], [], around)
    last = json.loads(lines[-1])
    size = len(hub.files[NAME])
    assert (last["model"], last["file"], last["all"], last["total"]) == ("m", NAME, size, size)
    from mi50.models.progress import line

    state = {"model": "m", "file": "f", "all": 4 * 10**9, "total": 16 * 10**9, "rate": 10**8}
    assert line(state) == "m f 4000/16000 MB, 25 %, 100.0 MB/s, 2:00 left"
    assert line({}) == ""


def test_second_run_waits_for_the_first(hub: Hub, around: Surroundings) -> None:
    import threading

    found: list[dict[str, object]] = []
    with store.locked(around.store):
        runner = threading.Thread(target=lambda: found.append(ensure.ensure([model()], [], around)))
        runner.start()
        runner.join(0.3)
        assert runner.is_alive()
        assert hub.log == []
    runner.join(10)
    assert found[0]["changed"]


def test_fetch_errors_leave_what_was_there(hub: Hub, around: Surroundings) -> None:
    ensure.ensure([model()], [], around)
    hub.lies[NAME] = hub.files[NAME][::-1]
    hub.files[NAME] = hub.files[NAME][:-1] + b"!"
    old = (around.store / "m" / NAME).read_bytes()
    with pytest.raises(FetchError, match=r"sha256 of .* nothing was kept"):
        ensure.ensure([model(files=[{"path": NAME, "sha256": sha(hub.files[NAME])}])], [], around)
    assert (around.store / "m" / NAME).read_bytes() == old
    assert store.settled(around.store, "m", model().identity)
    assert REPO in str(store.load(around.store, "m"))
