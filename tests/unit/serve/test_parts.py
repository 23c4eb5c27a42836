"""Keys, archives, unit syntax, and what the controller asks for."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import archive, key, llama_cpp, origin, unit
from mi50.serve.model import Key, Node, ServeError

from tests.unit.models import made_up
from tests.unit.serve.conftest import Machine

OWNER = os.getuid()


def test_a_key_is_made_once(machine: Machine) -> None:
    wanted = Key("/etc/keys/x", variable="VLLM_API_KEY")
    assert key.ensure(wanted, machine.node, OWNER)
    made = machine.file("/etc/keys/x")
    assert not key.ensure(wanted, machine.node, OWNER)
    assert machine.file("/etc/keys/x") == made
    assert machine.file("/etc/keys/x.env") == f"VLLM_API_KEY={made}"
    assert stat.S_IMODE((machine.root / "etc/keys/x.env").stat().st_mode) == 0o600
    other = Key("/etc/keys/y")
    key.ensure(other, machine.node, OWNER)
    assert machine.file("/etc/keys/y") != made


def test_a_key_is_not_in_what_is_printed() -> None:
    assert "secret" not in repr(Key("/x", given="secret"))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain-word_1", "plain-word_1"),
        ("two words", '"two words"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        ('a"b', r'"a\"b"'),
        ("back\\slash", r'"back\\slash"'),
        ("", '""'),
    ],
)
def test_words_of_a_unit_mean_themselves(word: str, written: str) -> None:
    assert unit.quote(word) == written


def test_a_service_writes_only_where_systemd_makes_room(machine: Machine) -> None:
    service = machine.plan().service
    text = unit.unit(service, machine.node)
    assert "StateDirectory=mi50-aipc/llama_cpp" in text
    assert "CacheDirectory=mi50-aipc/llama_cpp" in text


def test_models_in_a_home_are_bound(machine: Machine) -> None:
    folder = machine.root / "home/me/models"
    folder.mkdir(parents=True)
    made_up.write(folder / "small.gguf", *made_up.small())
    service = machine.plan(model="/home/me/models/small.gguf").service
    assert "BindReadOnlyPaths=/home/me/models" in unit.unit(service, machine.node)
    assert machine.plan().service.read == ()


def packed(path: Path, *members: tuple[str, bytes | str | None]) -> Path:
    """An archive: bytes are a program, text is a link's target, None a device."""
    with tarfile.open(path, "w:gz") as stream:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size, member.mode = len(content), 0o4755
            elif content is None:
                member.type = tarfile.CHRTYPE
            else:
                member.type, member.linkname = tarfile.SYMTYPE, content
            stream.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def test_a_release_is_unpacked_without_special_bits(machine: Machine) -> None:
    packed(machine.root / "srv/x.tar.gz", ("llama-b1/llama-server", b"#!"), ("llama-b1/libx.so", "libx.so.1"))
    archive.unpack("/srv/x.tar.gz", "/opt/mi50-aipc/llama_cpp/b1", "", machine.node)
    program = archive.find("/opt/mi50-aipc/llama_cpp/b1", "llama-server", machine.node)
    assert program == "/opt/mi50-aipc/llama_cpp/b1/llama-b1/llama-server"
    assert stat.S_IMODE((machine.root / program[1:]).stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((("../evil", b"x"),), "outside of its folder"),
        ((("/etc/evil", b"x"),), "outside of its folder"),
        ((("link", "/etc/passwd"),), "outside of its folder"),
        ((("link", "../../etc"),), "outside of its folder"),
        ((("device", None),), "neither file, folder nor link"),
    ],
)
def test_an_archive_stays_in_its_folder(machine: Machine, members: Any, words: str) -> None:
    packed(machine.root / "srv/x.tar.gz", *members)
    with pytest.raises(ServeError, match=words):
        archive.unpack("/srv/x.tar.gz", "/opt/x", "", machine.node)
    assert not (machine.root / "opt/x").exists()
    assert list((machine.root / "opt").iterdir()) == []


def test_a_damaged_archive_leaves_nothing(machine: Machine) -> None:
    path = packed(machine.root / "srv/x.tar.gz", ("a", os.urandom(50000)))
    os.truncate(path, 30000)
    with pytest.raises(ServeError, match="cannot be unpacked"):
        archive.unpack("/srv/x.tar.gz", "/opt/x", "", machine.node)
    with pytest.raises(ServeError, match="expected 0000"):
        archive.unpack("/srv/x.tar.gz", "/opt/x", "0" * 64, machine.node)
    with pytest.raises(ServeError, match="is not on this node"):
        archive.unpack("/srv/none.tar.gz", "/opt/x", "", machine.node)
    assert list((machine.root / "opt").iterdir()) == []


def released(machine: Machine, version: str, name: str = "llama-server") -> dict[str, Any]:
    packed(machine.root / f"srv/{version}.tar.gz", (f"llama-{version}/{name}", b"#!"))
    return {"server": "", "archive": f"/srv/{version}.tar.gz", "version": version}


def test_releases_come_and_go_one_behind(machine: Machine) -> None:
    for version in ("b1", "b2", "b3"):
        todo = machine.plan(**released(machine, version))
        assert f"unpacking /srv/{version}.tar.gz" in todo.reasons
        machine.apply(**released(machine, version))
        assert machine.plan(**released(machine, version)).reasons == []
    assert sorted(path.name for path in (machine.root / "opt/mi50-aipc/llama_cpp").iterdir()) == ["b2", "b3"]
    assert "/opt/mi50-aipc/llama_cpp/b3/llama-b3/llama-server" in machine.file(
        "/etc/systemd/system/mi50-llama_cpp.service"
    )


def test_an_archive_of_something_else_is_refused(machine: Machine) -> None:
    with pytest.raises(ServeError, match="holds no llama-server"):
        machine.apply(**released(machine, "b1", "readme"))
    assert not (machine.root / "opt/mi50-aipc/llama_cpp/b1").exists()


LOG = """\
llama_prepare_model_devices: using device Vulkan0 (AMD Radeon Graphics (RADV VEGA20)) (0000:03:00.0) - 32000 MiB free
load_tensors: offloaded 63/63 layers to GPU
"""


def test_devices_from_the_log(machine: Machine) -> None:
    def seen(log: str, node: Node = machine.node) -> Any:
        return llama_cpp.devices_of(log, "llama_cpp", node)

    assert seen(LOG) == [("AMD Radeon Graphics (RADV VEGA20)", None, "0000:03:00.0")]
    assert seen(LOG.replace(" (0000:03:00.0)", "")) == [("AMD Radeon Graphics (RADV VEGA20)", None, "")]
    assert seen(LOG.replace("63/63", "0/63")) == []
    assert seen("listening\n") is None


SETTINGS = {"sysfs_root": "/sys", "port": 8080}
ARTIFACT = {"url": "https://x/llama-b1.tar.gz", "version": "b1", "sha256": "a" * 64, "size": 5}


def asked(**source: Any) -> dict[str, Any]:
    given = {"release": True, "artifact": ARTIFACT, "cache_dir": "/var/cache/x", **source}
    return origin.plan("llama_cpp", SETTINGS, {"model": "/m"}, given)


def test_the_stacks_release_is_fetched() -> None:
    found = asked()
    dest = "/var/cache/x/llama-b1.tar.gz"
    assert found["files"] == [{"url": ARTIFACT["url"], "dest": dest, "sha256": "a" * 64, "size": 5}]
    assert found["service"]["options"] == {"model": "/m", "archive": dest, "version": "b1", "sha256": "a" * 64}
    assert found["question"]["asked"] == found["service"]["asked"]


def test_another_release_is_not_held_against_the_stacks_digest() -> None:
    found = asked(url="https://y/other.tar.gz", version="b2")
    assert found["files"][0] == {"url": "https://y/other.tar.gz", "dest": "/var/cache/x/other.tar.gz", "sha256": ""}
    assert asked(archive="/srv/a.tar.gz", version="b3")["files"] == []
    assert "names no release" in asked(artifact={})["problem"]
    assert asked(release=False)["service"]["options"] == {"model": "/m"}


def test_what_is_asked_has_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    same = origin.asked({"a": 1}, "")
    assert origin.asked({"a": 1}, "") == same
    assert len({same, origin.asked({"a": 2}, ""), origin.asked({"a": 1}, "k1"), origin.asked({"a": 1}, "k2")}) == 4
    monkeypatch.setattr(origin, "code", lambda: "newer")
    assert origin.asked({"a": 1}, "") != same
