"""A node's apt sources: pointed at a mirror, and back to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mi50.mirror import client
from mi50.mirror.errors import MirrorError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OFFERED = [
    {"path": "os/debian-12/bookworm", "suite": "bookworm", "components": ["main", "contrib"], "keyring": KEYRING},
    {"path": "os/debian-12/updates", "suite": "bookworm-updates", "components": ["main"], "keyring": KEYRING},
]
OWN = {
    "sources.list": "# deb http://off.example x main\ndeb [arch=amd64] http://d.example/debian bookworm main\n",
    "sources.list.d/debian.sources": "Types: deb\nURIs: https://d.example/debian\nSuites: bookworm\n",
    "sources.list.d/disk.list": "deb [trusted=yes] file:///srv/disk ./\n",
    "sources.list.d/mi50-rocm.sources": "Types: deb\nURIs: http://elsewhere.example/rocm\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {**OWN, "../os-release": 'ID=debian\nVERSION_ID="12"\n', f"../..{KEYRING}": "k"}.items():
        path = tmp_path / "node/etc/apt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        path.resolve().write_text(text)
    (tmp_path / "mirror/os").mkdir(parents=True)
    (tmp_path / "mirror/os/debian-12.json").write_text(json.dumps(OFFERED))
    return tmp_path / "node"


def base(root: Path) -> str:
    return f"file://{root.parent}/mirror"


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted((root / "etc/apt").rglob("*"))
        if path.is_file()
    }


def test_there_and_back(root: Path) -> None:
    before = files(root)
    todo = client.plan(base(root), root)
    assert todo.changed and [path.name for path in todo.aside] == ["sources.list", "debian.sources"]
    client.apply(todo, root)
    now = files(root)
    assert {name for name in now if name.endswith(client.ASIDE)} == {
        f"etc/apt/sources.list{client.ASIDE}",
        f"etc/apt/sources.list.d/debian.sources{client.ASIDE}",
    }
    text = now[client.SOURCE]
    assert f"URIs: {base(root)}/os/debian-12/bookworm\nSuites: bookworm\nComponents: main contrib\n" in text
    assert text.count(f"Signed-By: {KEYRING}") == 2
    assert not client.plan(base(root), root).changed
    back = client.plan("", root)
    assert back.changed
    client.apply(back, root)
    assert files(root) == before
    assert not client.plan("", root).changed


def test_a_mirror_without_this_release_changes_nothing(root: Path) -> None:
    (root.parent / "mirror/os/debian-12.json").unlink()
    with pytest.raises(MirrorError, match="has no packages of debian-12: fill it on a host that runs the same release"):
        client.plan(base(root), root)


def test_a_keyring_that_is_not_there_is_named(root: Path) -> None:
    (root / KEYRING.lstrip("/")).unlink()
    with pytest.raises(MirrorError, match=r"keyring\.gpg: the distribution's keyring is not on this node"):
        client.plan(base(root), root)


def test_a_mirror_cannot_write_lines_of_its_own(root: Path) -> None:
    evil = [{**OFFERED[0], "suite": "bookworm\nTrusted: yes"}]
    (root.parent / "mirror/os/debian-12.json").write_text(json.dumps(evil))
    assert "Trusted" not in (client.plan(base(root), root).text or "")
