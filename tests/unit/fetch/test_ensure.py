"""What is there stays, what is not comes: by record, by bytes, by address, and through the module."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from ansible.module_utils.testing import patch_module_args
from mi50.fetch import record
from mi50.fetch.download import Wanted
from mi50.fetch.ensure import ensure
from mi50.fetch.errors import FetchError

from tests.unit.fetch.conftest import CONTENT, Upstream, listing

SHA256 = hashlib.sha256(CONTENT).hexdigest()
Plugin = Callable[[str, str], ModuleType]


@pytest.fixture
def wanted(upstream: Upstream, tmp_path: Path) -> Wanted:
    return Wanted(f"{upstream.url}/x", tmp_path / "cache/x")


def refuse(*_: object) -> str:
    raise AssertionError("hashed a file it need not hash")


def written(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What a write would change; not the time of the last access, which reading a record does."""
    found = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (status.st_ino, status.st_mtime_ns, status.st_ctime_ns) for name, status in found.items()}


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_an_unchanged_run_costs_a_stat(
    upstream: Upstream, wanted: Wanted, monkeypatch: pytest.MonkeyPatch, sha256: str | None
) -> None:
    wanted = wanted._replace(sha256=sha256)
    first = ensure([wanted])
    assert first["changed"]
    assert first["files"][0]["sha256"] == SHA256
    assert first["bytes_received"] == len(CONTENT)
    assert first["diff"]["after"] == f"{wanted.url} -> {wanted.dest} (missing)\n"
    before = written(wanted.dest.parent)
    upstream.log.clear()
    monkeypatch.setattr(record, "sha256_of", refuse)
    for check_mode in (True, False):
        again = ensure([wanted], check_mode=check_mode)
        assert (again["changed"], again["bytes_received"], again["diff"]["after"]) == (False, 0, "")
        assert again["files"][0]["size"] == len(CONTENT)
    assert upstream.log == []
    assert written(wanted.dest.parent) == before


def test_check_mode_asks_nobody_and_writes_nothing(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    outcome = ensure([wanted], check_mode=True)
    assert outcome["changed"]
    assert outcome["files"][0]["fetched"]
    assert upstream.log == []
    assert listing(tmp_path) == set()


FETCHED_AGAIN = {
    "another address": ({"url": "/y"}, "from another address"),
    "another size": ({"size": 3}, "bytes instead of 3"),
    "another digest": ({"sha256": "1" * 64}, "instead of 111111111111…"),
}


@pytest.mark.parametrize("case", FETCHED_AGAIN)
def test_other_wishes_are_fetched(upstream: Upstream, wanted: Wanted, case: str) -> None:
    ensure([wanted])
    change, why = FETCHED_AGAIN[case]
    if "url" in change:
        change = {"url": upstream.url + change["url"]}
    outcome = ensure([wanted._replace(**change)], check_mode=True)
    assert why in outcome["diff"]["after"]


@pytest.mark.parametrize("damage", ["other bytes", "same size", "truncated", "no record", "broken record"])
def test_a_file_that_was_changed_or_is_unknown_is_fetched(upstream: Upstream, wanted: Wanted, damage: str) -> None:
    ensure([wanted])
    notes = record.record_path(wanted.dest)
    if damage == "no record":
        notes.unlink()
    elif damage == "broken record":
        notes.write_text('{"url": 1')
    else:
        data = {"other bytes": b"x", "same size": CONTENT[::-1], "truncated": CONTENT[:-1]}[damage]
        wanted.dest.write_bytes(data)
    assert ensure([wanted])["files"][0]["fetched"]
    assert wanted.dest.read_bytes() == CONTENT
    assert not ensure([wanted])["changed"]


def test_the_same_bytes_under_another_date_are_not_fetched(upstream: Upstream, wanted: Wanted) -> None:
    ensure([wanted])
    os.utime(wanted.dest, (1, 1))
    before = json.loads(record.record_path(wanted.dest).read_text())
    assert not ensure([wanted], check_mode=True)["changed"]
    assert json.loads(record.record_path(wanted.dest).read_text()) == before
    assert not ensure([wanted])["changed"]
    assert json.loads(record.record_path(wanted.dest).read_text())["mtime_ns"] == 10**9


def test_a_file_brought_by_hand_counts_once_its_digest_is_known(upstream: Upstream, wanted: Wanted) -> None:
    wanted.dest.parent.mkdir()
    wanted.dest.write_bytes(CONTENT)
    wanted.dest.chmod(0o644)
    assert not ensure([wanted._replace(sha256=SHA256)])["changed"]
    assert upstream.log == []


def test_the_digest_counts_whatever_the_address(upstream: Upstream, wanted: Wanted) -> None:
    ensure([wanted])
    upstream.log.clear()
    assert not ensure([wanted._replace(url=f"{upstream.url}/mirror", sha256=SHA256)])["changed"]
    assert upstream.log == []


def test_mode(upstream: Upstream, wanted: Wanted) -> None:
    ensure([wanted])
    upstream.log.clear()
    assert ensure([wanted._replace(mode=0o600)], check_mode=True)["changed"]
    assert wanted.dest.stat().st_mode & 0o777 == 0o644
    assert ensure([wanted._replace(mode=0o600)])["changed"]
    assert wanted.dest.stat().st_mode & 0o777 == 0o600
    assert upstream.log == []


def test_what_is_refused(upstream: Upstream, wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="named twice"):
        ensure([wanted, wanted])
    (tmp_path / "cache").mkdir()
    wanted.dest.mkdir()
    with pytest.raises(FetchError, match="no plain file"):
        ensure([wanted])
    assert upstream.log == []


def call(plugin: Plugin, capfd: pytest.CaptureFixture[str], *files: dict, **options: object) -> dict:
    with patch_module_args({"files": list(files), **options}), pytest.raises(SystemExit):
        plugin("library", "artifact_fetch").main()
    return json.loads(capfd.readouterr().out)


def test_module(plugin: Plugin, capfd: pytest.CaptureFixture[str], upstream: Upstream, tmp_path: Path) -> None:
    files = [
        {"url": f"{upstream.url}/{name}", "dest": str(tmp_path / name), "sha256": digest}
        for name, digest in (("a", SHA256), ("b", ""))
    ]
    assert call(plugin, capfd, *files, _ansible_check_mode=True)["changed"]
    first = call(plugin, capfd, *files)
    assert first["changed"]
    assert first["bytes_received"] == 2 * len(CONTENT)
    assert [entry["dest"] for entry in first["files"]] == [entry["dest"] for entry in files]
    assert not call(plugin, capfd, *files)["changed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "abc"}, "is no sha256"),
        ({"mode": "rw"}, "is no octal mode"),
        ({"dest": "relative"}, "is not absolute"),
        ({"url": "gopher://x"}, "only http"),
        ({"sha256": "0" * 64}, "nothing was kept"),
    ],
)
def test_module_says_what_is_wrong(
    plugin: Plugin, capfd: pytest.CaptureFixture[str], upstream: Upstream, tmp_path: Path, change: dict, words: str
) -> None:
    outcome = call(plugin, capfd, {"url": f"{upstream.url}/x", "dest": str(tmp_path / "x"), **change})
    assert outcome["failed"]
    assert words in outcome["msg"]
    assert listing(tmp_path) == set()
