"""Ollama: what is refused, what its unit says, what its log tells, and the program that brings it up."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import door, doored, gpus, ollama, ollama_run, probe
from mi50.serve.model import Common, Device, Key, ServeError

from tests.unit.models import made_up
from tests.unit.serve.conftest import MODEL, Machine
from tests.unit.serve.test_parts import packed

STANDIN = Path(__file__).resolve().parents[3] / "lab/standins/standin_ollama"
OPTIONS: dict[str, Any] = {
    **{name: spec.get("default") for name, spec in ollama.SPEC.items()},
    "model": MODEL,
    "context": 1024,
    "archive": "/srv/ollama.tgz",
    "version": "0.13.5",
}


def define(machine: Machine, **changes: Any) -> Any:
    chosen, _problems = gpus.choose(machine.node, [])
    own = ("ollama", "mi50-ollama", "127.0.0.1", 11434, Key("/etc/mi50-aipc/keys/ollama"), tuple(chosen))
    common = Common(*own, 0.0, False, False, 900.0, 120.0, 30, 10.0, 600)
    return ollama.define(common, {**OPTIONS, **changes}, machine.node)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "0.12.4"}, ["Vulkan came with 0.12.11", "0.12.4, later ones delete"]),
        ({"environment": {"HSA_OVERRIDE_GFX_VERSION": "9.0.6"}}, ["asks for ROCm", "ROCm is not offered"]),
        ({"environment": {"OLLAMA_LLM_LIBRARY": "rocm_v6"}}, ["asks for ROCm"]),
        ({"archive": ""}, ["ollama_archive", "ollama_server"]),
        ({"archive": "", "server": "/usr/bin/none"}, ["/usr/bin/none", "ollama_server"]),
        ({"server": "/usr/bin/ollama"}, ["not both"]),
        ({"alias": "a b/c"}, ["'a b/c'", "ollama_alias"]),
        ({"kv_type": "q8_0", "flash_attention": False}, ["q8_0 needs flash attention"]),
        ({"context": 4}, ["ollama_context is 4"]),
        ({"context": 8192}, ["8192", "4096"]),
        ({"model": "/srv/none.gguf"}, ["/srv/none.gguf", "role models"]),
        ({"mmproj": MODEL}, ["no image projector", "ollama_mmproj"]),
    ],
)
def test_bad_input(machine: Machine, changes: dict[str, Any], words: list[str]) -> None:
    found = define(machine, **changes)
    assert found.service is None
    assert all(word in " ".join(found.problems) for word in words), found.problems


def test_too_long_a_context_is_told_with_its_numbers(machine: Machine) -> None:
    made_up.write(machine.root / "srv/models/qwen.gguf", dict(made_up.QWEN), list(made_up.qwen_tensors()))
    found = define(machine, model="/srv/models/qwen.gguf", context=131072, parallel=4)
    assert "131072 tokens x 4 slots" in found.problems[0]


def test_it_is_told_to_use_vulkan_behind_its_door(machine: Machine) -> None:
    found = define(machine, kv_type="q8_0", alias="small").service
    assert ("PrivateNetwork", "yes") in found.properties
    environment = found.environment
    assert environment["OLLAMA_VULKAN"] == environment["OLLAMA_FLASH_ATTENTION"] == "1"
    assert environment["ROCR_VISIBLE_DEVICES"] == environment["OLLAMA_KEEP_ALIVE"] == "-1"
    assert (environment["OLLAMA_CONTEXT_LENGTH"], environment["OLLAMA_KV_CACHE_TYPE"]) == ("1024", "q8_0")
    assert environment["OLLAMA_HOST"] == f"127.0.0.1:{doored.INNER_PORT}"
    assert "radeon_icd" in environment["VK_DRIVER_FILES"]
    settings = json.loads({file.path: file.content for file in found.files}[doored.settings("ollama")])
    assert (settings["alias"], settings["model"]) == ("small", MODEL)
    assert found.probe.kind == "ollama"
    assert "OLLAMA_VULKAN" not in define(machine, environment={"X": "y"}).service.start


LINE = (
    'time=2025-12-18T10:00:00.000Z level=INFO source=types.go:42 msg="inference compute" id=00000000-0300 filter_id=""'
    ' library=Vulkan compute=0.0 name=Vulkan0 description="AMD Radeon Graphics (RADV VEGA20)" libdirs=ollama,vulkan'
    ' driver=0.0 pci_id={pci} type=discrete total="32.0 GiB" available="31.9 GiB"\n'
)
CPU = 'x msg="inference compute" id=cpu library=cpu compute="" name=cpu description=cpu pci_id="" total="8.0 GiB"\n'


def test_devices_from_the_log(machine: Machine) -> None:
    def seen(log: str) -> Any:
        return ollama.devices_of(log, "ollama", machine.node)

    card = Device("AMD Radeon Graphics (RADV VEGA20)", 32 << 30, "0000:03:00.0")
    assert seen("starting\n" + LINE.format(pci="0000:03:00.0")) == [card]
    assert seen(LINE.format(pci="03:00.0")) == [card]
    assert seen(LINE.format(pci='""')) == [card._replace(pci="")]
    assert seen(CPU) == []
    assert seen("starting\n") is None


def test_a_release_is_unpacked_and_one_of_something_else_refused(machine: Machine) -> None:
    packed(machine.root / "srv/ollama.tgz", ("bin/ollama", b"#!"), ("lib/ollama/vulkan/libggml-vulkan.so", b"x"))
    found = define(machine).service
    assert ollama.pending(found, OPTIONS, machine.node) == ["unpacking Ollama 0.13.5"]
    ollama.install(found, OPTIONS, machine.node)
    assert ollama.pending(define(machine).service, OPTIONS, machine.node) == []
    assert found.facts["program"] == ["/opt/mi50-aipc/ollama/0.13.5/bin/ollama"]
    packed(machine.root / "srv/other.tgz", ("readme", b"x"))
    another = {**OPTIONS, "archive": "/srv/other.tgz", "version": "0.14.0"}
    with pytest.raises(ServeError, match="holds no ollama: not an archive of Ollama"):
        ollama.install(define(machine, **another).service, another, machine.node)
    assert "/opt/mi50-aipc/ollama" in ollama.remove("ollama", machine.node)


@pytest.mark.parametrize(
    ("rows", "state", "words"),
    [
        ([], "unloaded", "small is not loaded; the server has no model"),
        ([{"name": "other:latest", "size": 9, "size_vram": 9}], "unloaded", "the server has other"),
        ([{"name": "small:latest", "size": 10**10, "size_vram": 10**9}], "cpu", "10.0 GB, of which 1.0 GB lie in VRAM"),
    ],
)
def test_what_it_has_in_memory(monkeypatch: pytest.MonkeyPatch, rows: list[Any], state: str, words: str) -> None:
    config = {"kind": "ollama", "model": "small", "live_timeout": 1, "key_file": "/x", "software": False}
    monkeypatch.setattr(probe, "ask", lambda *_given: (200, json.dumps({"models": rows}).encode()))
    with pytest.raises(probe.Fault, match=words) as caught:
        probe.loaded(config)
    assert caught.value.state == state
    good = {"name": "small:latest", "size": 10**10, "size_vram": 10**10}
    monkeypatch.setattr(probe, "ask", lambda *_given: (200, json.dumps({"models": [good]}).encode()))
    probe.loaded(config)
    monkeypatch.setattr(
        probe, "ask", lambda *_given: (200, json.dumps({"models": [{**good, "size_vram": 0}]}).encode())
    )
    probe.loaded({**config, "software": True})


SERVER = """\
import json, subprocess
def start(path, projector, alias, words):
    return subprocess.Popen(["sleep", "100"])
def ask(method, path, body):
    return 200, json.dumps({"choices": [], "timings": {}}).encode()
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ollama_run.Daemon]:
    """The program, with the lab's stand-in of Ollama and a small model."""
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(STANDIN, tmp_path / "ollama")
    (tmp_path / "standin_server.py").write_text(SERVER)
    made_up.write(tmp_path / "small.gguf", *made_up.small())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    settings = {"inner_port": port, "ollama": str(tmp_path / "ollama"), "model": str(tmp_path / "small.gguf")}
    found = ollama_run.Daemon(
        {**settings, "mmproj": "", "context": 1024, "template": "", "alias": "small", "load_timeout": 30.0}
    )
    yield found
    found.down()


def bring_up(daemon: ollama_run.Daemon) -> None:
    for _stage, act in daemon.steps():
        act()


def test_from_nothing_to_a_loaded_model(
    daemon: ollama_run.Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models/blobs").mkdir(parents=True)
    (tmp_path / "models/blobs/sha256-of-another-model").touch()
    bring_up(daemon)
    assert daemon.listens()
    assert daemon.ask("GET", "/api/ps", None, 5)["models"][0]["name"] == "small:latest"
    blobs = list((tmp_path / "models/blobs").iterdir())
    assert [str(blob.readlink()) for blob in blobs] == [str(tmp_path / "small.gguf")]
    size = (tmp_path / "small.gguf").stat().st_size
    assert f"placed: small:latest, {size} of {size} bytes in VRAM" in capsys.readouterr().out
    with pytest.raises(door.Trouble, match="answered with 404: model 'other' not found"):
        daemon.ask("POST", "/api/generate", {"model": "other"}, 5)
    assert not daemon.ended()
    daemon.down()
    assert daemon.ended()
    assert not daemon.listens()


def test_a_file_is_read_once(daemon: ollama_run.Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon._link()
    monkeypatch.setattr(ollama_run.hashlib, "sha256", lambda: pytest.fail("it was read again"))
    daemon._link()
    monkeypatch.undo()
    (tmp_path / "small.gguf").unlink()
    with pytest.raises(door.Trouble, match=r"small.gguf cannot be read: No such file"):
        daemon._link()


def test_what_does_not_come_up_is_told(daemon: ollama_run.Daemon, tmp_path: Path) -> None:
    (tmp_path / "standin-fault").write_text('{"crash": true}')
    with pytest.raises(door.Trouble, match=r"`ollama serve` ended \(1\)"):
        bring_up(daemon)
    (tmp_path / "standin-fault").unlink()
    (tmp_path / "small.gguf").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(door.Trouble, match="/api/create was answered with 400: only GGUF files"):
        bring_up(daemon)
