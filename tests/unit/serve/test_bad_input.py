"""Everything that can be known to be wrong is told by name, with the way out, and before anything changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import service
from mi50.serve.model import ServeError

from tests.unit.models import made_up
from tests.unit.serve.conftest import KEY, MODEL, Machine, other

Change = Callable[[Machine], dict[str, Any]]


def state(machine: Machine) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in machine.root.rglob("*"))


def refused(machine: Machine, **changes: Any) -> str:
    before = state(machine)
    with pytest.raises(ServeError) as caught:
        service.plan(machine.params(**changes), machine.node)
    assert state(machine) == before
    assert not [call for call in machine.calls if call[0] not in ("systemctl", "journalctl")]
    return str(caught.value)


def taken(machine: Machine) -> dict[str, Any]:
    machine.listening("0100007F", machine.port)
    folder = machine.root / "proc/99/fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to("socket:[4711]")
    (machine.root / "proc/99/comm").write_text("nginx\n")
    (machine.root / "proc/99/cgroup").write_text("0::/system.slice/nginx.service\n")
    return {}


def no_group(machine: Machine) -> dict[str, Any]:
    (machine.root / "etc/group").write_text("video:x:44:\n")
    return {}


def readable_key(machine: Machine) -> dict[str, Any]:
    path = machine.root / KEY.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_text("k" * 40)
    path.chmod(0o644)
    return {}


def empty_key(machine: Machine) -> dict[str, Any]:
    path = machine.root / KEY.lstrip("/")
    path.parent.mkdir(parents=True)
    path.touch(mode=0o600)
    return {}


def garbled_key(machine: Machine) -> dict[str, Any]:
    path = machine.root / KEY.lstrip("/")
    path.parent.mkdir(parents=True)
    path.touch(mode=0o600)
    path.write_bytes(b"\xff\xfe" * 20)
    return {}


def foreign_key(machine: Machine) -> dict[str, Any]:
    readable_key(machine)
    path = machine.root / KEY.lstrip("/")
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    return {}


def key_below_a_file(machine: Machine) -> dict[str, Any]:
    path = machine.root / KEY.lstrip("/")
    path.parent.parent.mkdir(parents=True)
    path.parent.touch()
    return {}


def linked_key(machine: Machine) -> dict[str, Any]:
    path = machine.root / KEY.lstrip("/")
    path.parent.mkdir(parents=True)
    path.symlink_to("/etc/passwd")
    return {}


def cut_off(machine: Machine) -> dict[str, Any]:
    path = machine.root / MODEL.lstrip("/")
    os.truncate(path, path.stat().st_size - 100)
    return {}


def no_gguf(machine: Machine) -> dict[str, Any]:
    (machine.root / MODEL.lstrip("/")).write_bytes(b"<!DOCTYPE html>")
    return {}


def no_icd(machine: Machine) -> dict[str, Any]:
    shutil.rmtree(machine.root / "usr/share/vulkan/icd.d")
    return {}


def qwen(machine: Machine) -> dict[str, Any]:
    made_up.write(machine.root / "srv/models/qwen.gguf", dict(made_up.QWEN), list(made_up.qwen_tensors()))
    return {"model": "/srv/models/qwen.gguf", "context": 131072, "parallel": 4}


def gone(machine: Machine) -> dict[str, Any]:
    (machine.root / "dev/dri/renderD128").unlink()
    return {}


def not_ours(machine: Machine) -> dict[str, Any]:
    (machine.root / "dev/dri/renderD128").chmod(0o600)
    return {}


def no_projector(machine: Machine) -> dict[str, Any]:
    del machine
    return {"mmproj": MODEL}


def full(machine: Machine) -> dict[str, Any]:
    with (machine.root / "srv/release.tar.gz").open("wb") as stream:
        stream.truncate(1 << 42)
    return {"server": "", "archive": "/srv/release.tar.gz", "version": "b1"}


def given(**changes: Any) -> Change:
    return lambda machine: changes


CASES: dict[str, tuple[Change, list[str]]] = {
    "port taken": (taken, ["port", "nginx (99)", "llama_cpp_port"]),
    "no render group": (no_group, ["no group render", "role rocm"]),
    "key readable for others": (readable_key, [KEY, "mode 0644", "chmod 600"]),
    "key file empty": (empty_key, [KEY, "no usable key"]),
    "key file holds no text": (garbled_key, [KEY, "cannot be read (UnicodeDecodeError)", "remove it"]),
    "key file of somebody else": (foreign_key, [KEY, "belongs to user 12345", "chown root:root"]),
    "key file below a file": (key_below_a_file, [KEY, "cannot be read", "check its directory"]),
    "key file is a link": (linked_key, [KEY, "not a regular file"]),
    "given key too short": (given(api_key="short"), ["API key that was given", "16 to 512"]),
    "model missing": (given(model="/srv/models/none.gguf"), ["/srv/models/none.gguf", "role models"]),
    "model cut off": (cut_off, ["small.gguf", "cut off", "Fetch it again"]),
    "model is a page": (no_gguf, ["small.gguf", "no GGUF"]),
    "projector is none": (no_projector, ["no image projector", "llama_cpp_mmproj"]),
    "no driver": (no_icd, ["no Vulkan driver", "mesa-vulkan-drivers", "llvmpipe"]),
    "no such card": (given(gpus=["0000:99:00.0"]), ["0000:99:00.0", "0000:03:00.0"]),
    "an index": (given(gpus=["0"]), ["'0'", "no PCI address"]),
    "no card without a word": (given(gpus=["none"]), ["[none]", "allow_software"]),
    "no device file": (gone, ["0000:03:00.0", "no render node"]),
    "a card that the user's groups cannot open": (
        not_ours,
        ["renderD128 belongs to group", "mode 0600", "mi50-llama_cpp is in render (104), video (44)", "chgrp render"],
    ),
    "no room": (full, ["/opt/mi50-aipc/llama_cpp", "GB free", "are needed"]),
    "too long a context": (qwen, ["llama_cpp_context", "131072 tokens x 4 slots", "17.3 GiB", "48.0 GiB", "32.0 GiB"]),
    "longer than the model's": (given(context=8192), ["8192", "4096"]),
    "the role's own flag": (given(extra_args=["--port", "1"]), ["--port", "llama_cpp_extra_args"]),
    "kv type without flash attention": (
        given(kv_type="q8_0", flash_attention="off"),
        ["q8_0 needs flash attention", "llama_cpp_flash_attention"],
    ),
    "no program": (given(server="/usr/bin/none"), ["/usr/bin/none", "llama_cpp_server"]),
    "port number": (given(port=70000), ["llama_cpp_port is 70000"]),
    "unknown engine": (given(name="lama"), ["no engine 'lama'", "llama_cpp"]),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused_and_changes_nothing(machine: Machine, case: str) -> None:
    prepare, words = CASES[case]
    text = refused(machine, **prepare(machine))
    assert all(word in text for word in words), text


def test_all_is_told_at_once(machine: Machine) -> None:
    for spoil in (no_group, readable_key, cut_off, taken):
        spoil(machine)
    text = refused(machine, gpus=["0000:99:00.0"])
    assert all(word in text for word in ("0000:99:00.0", "no group render", "cut off", "mode 0644", "nginx"))


CARDS = {
    "bar16": ([], ["16.0 of 32.0 GiB", "113-D1631711-100", "Resizable BAR", "llama_cpp_allow_small_bar", "vllm"]),
    "unbound": ([], ["not driven by amdgpu"]),
    "none": ([], ["no gfx906 card"]),
    "ryzen-igpu-bmc": (["0000:30:00.0"], ["0000:30:00.0", "integrated in the processor"]),
}


@pytest.mark.parametrize("preset", CARDS)
def test_cards_that_cannot_serve(tmp_path: Path, preset: str) -> None:
    gpus, words = CARDS[preset]
    text = refused(other(tmp_path, preset), gpus=gpus)
    assert all(word in text for word in words), text


def test_an_integrated_gpu_is_passed_over(tmp_path: Path) -> None:
    machine = other(tmp_path, "ryzen-igpu-bmc")
    assert [gpu.pci for gpu in machine.plan().service.gpus] == ["0000:03:00.0"]


def test_a_small_window_counts_for_the_fit(tmp_path: Path) -> None:
    machine = other(tmp_path, "bar16")
    made_up.write(machine.root / "srv/models/gemma.gguf", dict(made_up.GEMMA), list(made_up.gemma_tensors()))
    text = refused(machine, allow_small_bar=True, model="/srv/models/gemma.gguf", context=4096)
    assert "which has 16.0 GiB" in text


def test_a_connection_to_that_port_is_no_obstacle(machine: Machine) -> None:
    machine.listening("0100007F", machine.port, state="01")
    assert machine.plan().reasons


def test_own_port_is_no_obstacle(machine: Machine) -> None:
    machine.apply()
    taken(machine)
    (machine.root / "proc/99/cgroup").write_text("0::/system.slice/mi50-llama_cpp.service\n")
    assert machine.plan().reasons == []
    # A container's port is its engine's: then it counts that the unit is up with that port.
    (machine.root / "proc/99/cgroup").write_text("0::/system.slice/docker.service\n")
    assert machine.plan().reasons == []


def test_in_a_check_what_other_roles_bring_is_no_failure(machine: Machine) -> None:
    no_group(machine)
    params = machine.params(model="/srv/models/later.gguf")
    assert service.plan(params, machine.node, check=True) is None
    readable_key(machine)
    with pytest.raises(ServeError, match="mode 0644"):
        service.plan(params, machine.node, check=True)
