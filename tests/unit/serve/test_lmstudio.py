"""LM Studio: what is refused, what its units say, and the door with the key before it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from mi50.serve import checks, door, doored, gpus, lmstudio, lmstudio_run, probe
from mi50.serve.model import Common, Device, Key

from tests.unit.models import made_up
from tests.unit.serve.conftest import MODEL, Machine

OPTIONS: dict[str, Any] = {
    **{name: spec.get("default") for name, spec in lmstudio.SPEC.items()},
    "model": MODEL,
    "context": 1024,
    "accept_licence": True,
    "archive": "/srv/llmster.tar.gz",
    "version": "0.0.25-1",
}


def common(machine: Machine) -> Common:
    chosen, _problems = gpus.choose(machine.node, [])
    key = Key("/etc/mi50-aipc/keys/lmstudio")
    own = ("lmstudio", "mi50-lmstudio", "127.0.0.1", 1234, key, tuple(chosen))
    return Common(*own, 0.0, False, False, 900.0, 120.0, 30, 10.0, 600)


def define(machine: Machine, **changes: Any) -> Any:
    return lmstudio.define(common(machine), {**OPTIONS, **changes}, machine.node)


def window(machine: Machine) -> None:
    (machine.root / "proc/77").mkdir()
    (machine.root / "proc/77/cmdline").write_bytes(b"/opt/LM-Studio-0.4.12-1-x64.AppImage\0--no-sandbox\0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accept_licence": False}, ["proprietary", "lmstudio_accept_licence", "llama_cpp"]),
        ({"archive": ""}, ["lmstudio_archive"]),
        ({"gpu_offload": "all"}, ["'all'", "max, off"]),
        ({"runtime": "llama.cpp-linux-x86_64-amd-rocm-avx2"}, ["leaves gfx906 out", "Vulkan"]),
        ({"context": 4}, ["lmstudio_context is 4"]),
        ({"context": 8192}, ["8192", "4096"]),
        ({"model": "/srv/none.gguf"}, ["/srv/none.gguf"]),
    ],
)
def test_bad_input(machine: Machine, changes: dict[str, Any], words: list[str]) -> None:
    found = define(machine, **changes)
    assert found.service is None
    assert all(word in " ".join(found.problems) for word in words), found.problems


def test_a_window_of_it_is_refused(machine: Machine) -> None:
    assert define(machine).service is not None
    window(machine)
    assert "process 77" in define(machine).problems[0]


def test_qwen_with_four_slots_does_not_fit(machine: Machine) -> None:
    made_up.write(machine.root / "srv/models/qwen.gguf", dict(made_up.QWEN), list(made_up.qwen_tensors()))
    found = define(machine, model="/srv/models/qwen.gguf", context=131072, parallel=4)
    assert "131072 tokens x 4 slots" in found.problems[0]


def test_it_has_a_network_of_its_own_and_one_door(machine: Machine) -> None:
    service = define(machine).service
    assert ("PrivateNetwork", "yes") in service.properties
    files = {file.path: file.content for file in service.files}
    assert "ListenStream=127.0.0.1:1234" in files["/etc/systemd/system/mi50-lmstudio.socket"]
    assert "PartOf=mi50-lmstudio.service" in files["/etc/systemd/system/mi50-lmstudio.socket"]
    settings = json.loads(files[doored.settings("lmstudio")])
    assert settings["inner_port"] != 1234
    assert settings["repository"] == "mi50-aipc/small"
    programs = [text for path, text in files.items() if path.endswith(".py")]
    assert len(programs) == 4
    for text in programs:
        compile(text, "program", "exec")
    assert checks.exposed(common(machine)) == []


def test_devices_as_it_wrote_them_down(machine: Machine) -> None:
    line = 'devices: [{"name": "AMD Radeon Graphics (RADV VEGA20)", "memory": 34342961152}]'
    log = f"devices: []\nunpacking\n{line}\nserving\n"
    found = lmstudio.devices_of(log, "lmstudio", machine.node)
    assert found == [Device("AMD Radeon Graphics (RADV VEGA20)", 34342961152)]
    assert lmstudio.devices_of("devices: []\n", "lmstudio", machine.node) == []
    assert lmstudio.devices_of("starting\n", "lmstudio", machine.node) is None


def test_a_listed_model_need_not_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = [{"key": "mi50-aipc/small", "loaded_instances": []}]
    monkeypatch.setattr(probe, "ask", lambda *_given: (200, json.dumps({"models": rows}).encode()))
    config = {"kind": "lmstudio", "model": "small", "live_timeout": 1, "key_file": "/x"}
    with pytest.raises(probe.Fault, match="small is not loaded; the server has no model"):
        probe.loaded(config)
    rows[0]["loaded_instances"] = [{"id": "small", "config": {}}]
    probe.loaded(config)


def test_what_lms_says_reaches_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lms = tmp_path / ".lmstudio/bin/lms"
    lms.parent.mkdir(parents=True)
    lms.write_text(
        '#!/bin/sh\n[ "$2" = ls ] && echo "llama.cpp-linux-x86_64-avx2@1.2    GGUF" && exit\necho no >&2; exit 1\n'
    )
    lms.chmod(0o755)
    daemon = lmstudio_run.Daemon({"runtime": "llama.cpp-linux-x86_64-vulkan-avx2", "inner_port": 1})
    with pytest.raises(door.Trouble, match=r"`lms load x` failed \(1\): no"):
        daemon.lms("load", "x")
    with pytest.raises(door.Trouble, match=r"is not installed \(there is: llama.cpp-linux-x86_64-avx2@1.2\)"):
        daemon._runtime()
    assert not daemon.listens()
    os.truncate(lms, 0)
    lms.chmod(0o644)
    with pytest.raises(door.Trouble, match="cannot be started"):
        daemon.lms("ps")
