"""The mirror's manifest, and the folder as one thing that is copied, damaged, and taken up again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from mi50.mirror import transfer
from mi50.mirror.errors import MirrorError
from mi50.mirror.store import MANIFEST, Store, parse

FILES = {"www/radeon/a.deb": b"aaaa", "www/pypi/b/b.whl": b"bb", "registry/docker/blob": b"ccc"}


def filled(root: Path) -> Store:
    store = Store(root)
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    store.put("one", "file", {"path": "radeon/a.deb"}, {}, [root / "www/radeon/a.deb"])
    store.put("two", "image", {"path": "x"}, {"digest": "sha256:1"}, [root / name for name in list(FILES)[1:]])
    return Store(root)


def test_what_was_put_is_read_again(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert sorted(store.files) == sorted(FILES)
    assert store.files["www/radeon/a.deb"]["sha256"] == hashlib.sha256(b"aaaa").hexdigest()
    assert store.items["two"]["values"] == {"digest": "sha256:1"}
    assert store.whole("one") and store.whole("two") and not store.whole("three")
    assert store.size() == 9
    assert store.wrong(every_byte=True) == []


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    store = filled(tmp_path)
    (tmp_path / "www/radeon/a.deb").write_bytes(b"aaa")
    (tmp_path / "www/pypi/b/b.whl").unlink()
    (tmp_path / "registry/docker/blob").write_bytes(b"xxx")
    assert store.wrong(every_byte=False) == ["www/pypi/b/b.whl: missing", "www/radeon/a.deb: 3 bytes instead of 4"]
    assert len(store.wrong(every_byte=True)) == 3
    assert store.wrong(["one"], every_byte=True) == ["www/radeon/a.deb: 3 bytes instead of 4"]
    assert not store.whole("one")


def test_a_file_without_a_known_digest_counts_only_when_the_manifest_has_it(tmp_path: Path) -> None:
    store = filled(tmp_path)
    stray = tmp_path / "www/stray"
    stray.write_bytes(b"half of it")
    assert not store.has(stray)
    assert not store.has(stray, "0" * 64)
    assert store.has(stray, hashlib.sha256(b"half of it").hexdigest())
    assert store.has(tmp_path / "www/radeon/a.deb")
    assert not store.has(tmp_path / "www/radeon/a.deb", "0" * 64)


@pytest.mark.parametrize("name", ["/etc/passwd", "www/../../etc/passwd", "elsewhere/x"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    item = {"kind": "file", "what": {}, "values": {}, "files": [name]}
    text = json.dumps({"format": 1, "items": {"x": item}, "files": {name: {"size": 1, "sha256": "0"}}})
    with pytest.raises(MirrorError, match="leads out of"):
        parse(text, "m")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2, "items": {}, "files": {}}', '{"format": 1, "items": {"x": {}}}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(MirrorError, match="is no manifest of a mirror"):
        parse(text, "m")


def test_a_copy_is_whole_and_the_second_copies_nothing(tmp_path: Path) -> None:
    source = filled(tmp_path / "a")
    done = transfer.copy(source, Store(tmp_path / "b"))
    assert (done["copied"], done["unchanged"], done["bytes"], done["changed"]) == (3, 0, 9, True)
    target = Store(tmp_path / "b")
    assert target.items == source.items
    assert target.wrong(every_byte=True) == []
    assert transfer.copy(source, target)["changed"] is False


def test_an_interrupted_copy_goes_on(tmp_path: Path) -> None:
    source = filled(tmp_path / "a")
    there = tmp_path / "b/www/radeon/a.deb"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"aaaa")  # copied before the power went; there is no manifest yet
    (tmp_path / "b/registry/docker").mkdir(parents=True)
    (tmp_path / "b/registry/docker/blob").write_bytes(b"xxx")  # of the right size, and not it
    done = transfer.copy(source, Store(tmp_path / "b"))
    assert (done["copied"], done["unchanged"]) == (2, 1)
    assert Store(tmp_path / "b").wrong(every_byte=True) == []


def test_a_source_that_lacks_files_is_refused_with_all_of_them_and_changes_nothing(tmp_path: Path) -> None:
    source = filled(tmp_path / "a")
    for name in list(FILES)[:2]:
        (tmp_path / "a" / name).unlink()
    with pytest.raises(MirrorError, match=r"2 files are missing.*pypi/b/b.whl: missing; www/radeon/a.deb: missing"):
        transfer.copy(source, Store(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_a_damaged_source_leaves_the_mirror_as_it_was(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "a"), filled(tmp_path / "b")
    (tmp_path / "a/www/radeon/a.deb").write_bytes(b"AAAA")
    source.files["www/radeon/a.deb"]["sha256"] = hashlib.sha256(b"new!").hexdigest()
    with pytest.raises(MirrorError, match=r"1 files are not what its manifest says: www/radeon/a.deb: sha256"):
        transfer.copy(source, target)
    assert (tmp_path / "b/www/radeon/a.deb").read_bytes() == b"aaaa"
    assert Store(tmp_path / "b").wrong(every_byte=True) == []
    assert not list((tmp_path / "b").rglob(".*.part"))


def test_the_seal_tells_exports_apart(tmp_path: Path) -> None:
    store = filled(tmp_path)
    digest = transfer.seal(store)
    assert transfer.check_seal(tmp_path, digest) == transfer.check_seal(tmp_path, "") == digest
    (tmp_path / MANIFEST).write_text((tmp_path / MANIFEST).read_text() + " ")
    with pytest.raises(MirrorError, match="this is another export"):
        transfer.check_seal(tmp_path, digest)
    with pytest.raises(MirrorError, match="Name the exported folder"):
        transfer.check_seal(tmp_path / "nowhere", "")
