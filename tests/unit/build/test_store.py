"""Keeping finished builds, on nodes and on the controller: whole and proven, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mi50.build import key as keys
from mi50.build.cache import Cache, run_id
from mi50.build.store import MANIFEST, Store, StoreError

WHEEL = "triton-3.5.0+gfx906-cp311-cp311-linux_x86_64.whl"
HOST = {"os": "debian 12", "glibc": "2.36", "python": "cp311", "machine": "x86_64"}


def manifest(content: bytes = b"wheel", finished: str = "2026-11-23T03:00:00Z", **parts: str) -> dict[str, Any]:
    all_parts = {**HOST, "source": "a", **parts}
    file = {"name": WHEEL, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return {
        "name": "triton",
        "version": "3.5.0+gfx906",
        "key": keys.digest(all_parts),
        "parts": all_parts,
        "files": [file],
        "finished": finished,
        "builder": "node1",
    }


def kept(store: Store, tmp_path: Path, content: bytes = b"wheel", **parts: str) -> dict[str, Any]:
    one = manifest(content, **parts)
    source = tmp_path / "source.whl"
    source.write_bytes(content)
    store.place(one, {WHEEL: source})
    return one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "builds")


def test_what_is_placed_is_there_and_proven(store: Store, tmp_path: Path) -> None:
    one = kept(store, tmp_path)
    assert store.problem(one["key"], verify=True) == ""
    assert store.manifest(one["key"]) == one
    assert (store.folder(one["key"]) / WHEEL).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in store.root.iterdir()] == [one["key"]]


def test_wrong_bytes_are_refused_and_the_old_build_stays(store: Store, tmp_path: Path) -> None:
    one = kept(store, tmp_path)
    bad = tmp_path / "bad.whl"
    bad.write_bytes(b"whale")
    with pytest.raises(StoreError, match=r"sha256 .* the manifest says .*Nothing was kept"):
        store.place(one, {WHEEL: bad})
    assert store.problem(one["key"], verify=True) == ""
    assert [path.name for path in store.root.iterdir()] == [one["key"]]


def test_a_link_in_place_of_the_artifact_is_refused(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"wheel")
    link = tmp_path / "link.whl"
    link.symlink_to(secret)
    with pytest.raises(StoreError, match="link"):
        store.place(manifest(), {WHEEL: link})


@pytest.mark.parametrize(
    "damage",
    [
        {"files": []},
        {"files": [{"name": "../../etc/passwd", "sha256": "0" * 64, "size": 1}]},
        {"parts": {"source": "another"}},
        {"name": None},
    ],
    ids=["no files", "a path", "another key", "no name"],
)
def test_unsound_manifests_are_refused(store: Store, tmp_path: Path, damage: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="manifest"):
        store.place({**manifest(), **damage}, {WHEEL: tmp_path})


def test_damage_is_noticed_by_size_and_by_digest(store: Store, tmp_path: Path) -> None:
    one = kept(store, tmp_path)
    wheel = store.folder(one["key"]) / WHEEL
    wheel.write_bytes(b"whale")
    assert store.problem(one["key"], verify=False) == ""
    assert "sha256" in store.problem(one["key"], verify=True)
    wheel.write_bytes(b"short")
    wheel.write_bytes(b"longer than it was")
    assert "18 bytes instead of 5" in store.problem(one["key"], verify=False)
    wheel.unlink()
    assert "No such file" in store.problem(one["key"], verify=False)
    (store.folder(one["key"]) / MANIFEST).write_text("{")
    assert "cannot be used" in store.problem(one["key"], verify=False)
    assert store.problem("f" * 32, verify=False) == "missing"


def test_a_full_disk_is_said_and_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28), "builds")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device: make room"):
        kept(store, tmp_path)
    assert list(store.root.iterdir()) == []


def test_prune_keeps_earlier_builds_of_the_same_kind_of_host(store: Store, tmp_path: Path) -> None:
    builds = [kept(store, tmp_path, source=str(number)) for number in range(5)]
    for number, one in enumerate(builds):  # finished in this order
        path = store.folder(one["key"]) / MANIFEST
        path.write_text(json.dumps({**one, "finished": f"2026-11-2{number}"}))
    other = kept(store, tmp_path, glibc="2.39")
    gone = store.prune(builds[4], keep=2)
    assert sorted(gone) == sorted(one["key"] for one in builds[:2])
    assert store.manifest(other["key"]) is not None
    assert [one["key"] for one in store.entries("triton")[:1]] != []


def test_a_damaged_build_of_the_cache_is_set_aside(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", "1-1")
    one = kept(cache, tmp_path)
    assert cache.sound(one["key"]) == (one, "")
    (cache.folder(one["key"]) / WHEEL).write_bytes(b"whale")
    found, why = cache.sound(one["key"])
    assert found is None
    assert "sha256" in why and ".broken-" in why
    assert cache.sound(one["key"]) == (None, "")
    assert kept(cache, tmp_path)["key"] == one["key"]


def test_one_builder_at_a_time_and_none_after_its_death(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", "1-1")
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\nfrom mi50.build.cache import Cache\n"
        "with Cache(Path(sys.argv[1]), '2-2').builder('k', 'node7') as mine:\n"
        "    print(mine, flush=True); time.sleep(60)\n"
    )
    paths = [path for path in sys.path if path.endswith("module_utils")]
    argv = [sys.executable, "-c", code, str(cache.root), *paths]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "True"
        assert cache.building("k") == "node7"
        with cache.builder("k", "node1") as mine:
            assert mine is False
        other.kill()
        other.wait()
    deadline = time.monotonic() + 5
    while cache.building("k") and time.monotonic() < deadline:
        time.sleep(0.01)
    with cache.builder("k", "node1") as mine:
        assert mine is True


def test_failures_are_of_one_run_and_swept_after_it(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path, run_id()), Cache(tmp_path, "999999999-1")
    cache.fail("k", "node1", "host", "no memory")
    other.fail("k", "node2", "host", "no disk")
    assert {host: one["text"] for host, one in cache.failed("k").items()} == {"node1": "no memory"}
    cache.sweep()
    assert other.failed("k") == {}
    assert list(cache.failed("k")) == ["node1"]


def test_nearest_and_pinned(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", "1-1")
    assert cache.nearest("triton", HOST) is None
    far, near = kept(cache, tmp_path, glibc="2.39", source="b"), kept(cache, tmp_path, source="b")
    found = cache.nearest("triton", {**HOST, "source": "a"})
    assert found is not None
    assert (found[0]["key"], found[1]) == (near["key"], ["source b instead of a"])
    assert cache.pinned("triton", far["key"][:8]) == far["key"]
    with pytest.raises(StoreError, match=r"build_once_pin: triton: no build .* begin with 'zz'; there are: "):
        cache.pinned("triton", "zz")
    with pytest.raises(StoreError, match="2 builds"):
        cache.pinned("triton", "")


def test_history_has_one_line_an_event(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", "1-1")
    one = kept(cache, tmp_path)
    cache.record("built", one, "node1", seconds=12)
    cache.record("handed over", one, "node2", builder="node1")
    lines = [json.loads(line) for line in (cache.root / "history.jsonl").read_text().splitlines()]
    assert [(line["event"], line["host"]) for line in lines] == [("built", "node1"), ("handed over", "node2")]
