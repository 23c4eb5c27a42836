"""The module's glue, and the host's facts."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from mi50.bench import host

from .loopback import Loopback, good


class ExitError(Exception):
    pass


@pytest.fixture
def module(plugin: Callable[[str, str], ModuleType]) -> ModuleType:
    return plugin("library", "llm_benchmark")


@pytest.fixture
def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    logged: list[str] = []

    def end(_self: object, **result: Any) -> None:
        raise ExitError(json.dumps(result))

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end)
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", lambda self, **r: end(self, failed=True, **r))
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda _self, text, **_more: logged.append(text))

    def call(**params: Any) -> dict[str, Any]:
        with patch_module_args(params), pytest.raises(ExitError) as ended:
            module.main()
        return {**json.loads(str(ended.value)), "logged": list(logged)}

    return call


def params(tmp_path: Path, url: str) -> dict[str, Any]:
    return {
        "run": {"id": "m", "dir": str(tmp_path / "runs"), "index": 1, "of": 2},
        "engine": {"url": url},
        "model": {"requested": "tiny"},
        "task": {"id": "t", "prompt": "x", "max_tokens": 40, "mode": "fixed"},
        "measure": {"repeats": "2", "max_repeats": 2, "controls": False, "calibrate": False, "thermal": "off"},
        "gpu": "none",
    }


def test_cell_and_summary(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with Loopback(lambda document: good(document["max_tokens"], 0.002, 0.01)) as server:
        wanted = params(tmp_path, server.url)
        planned = run(**wanted, _ansible_check_mode=True)
        assert (planned["plan"]["requests"], planned["changed"], server.requests) == (3, False, 0)
        assert not (tmp_path / "runs").exists()
        first = run(**wanted)
        assert (first["status"], first["resumed"], first["changed"]) == ("OK", False, False), first
        assert first["cell"]["ok"] == 2
        assert any("t.fixed: measure 1/2" in line for line in first["logged"])
        again = run(**wanted)
        assert (again["resumed"], again["cell"]) == (True, first["cell"])
        assert run(**wanted, action="probe")["reachable"]
        taken = run(**wanted, action="baseline", phase="loaded")
        assert (taken["status"], taken["baseline"]["vram_used"]) == ("OK", None)
    listed = run(**wanted, action="summary")
    assert [row["cell_id"] for row in listed["cells"]] == ["tiny.t.fixed"]
    assert "openai.jsonl" in listed["files"]


def test_unusable_parameters_fail(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    wanted = params(tmp_path, "http://127.0.0.1:9")
    assert "engine.what is unknown" in run(**{**wanted, "engine": {"url": "http://h:1", "what": 1}})["msg"]
    assert run(**{**wanted, "task": {"id": "t"}})["failed"]


def test_a_dirty_baseline_can_fail(run: Callable[..., dict[str, Any]], tmp_path: Path, module: ModuleType,
                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    row = {"status": "DIRTY_BASELINE", "baseline": {"reason": "8192 MiB held by forgotten (77)"}}
    monkeypatch.setattr(module.api, "take_baseline", lambda *_all, **_named: row)
    wanted = {**params(tmp_path, "http://h:1"), "action": "baseline"}
    assert "failed" not in run(**wanted)
    assert run(**wanted, fail_on_dirty=True)["msg"] == "8192 MiB held by forgotten (77)"


def test_who_listens(tmp_path: Path) -> None:
    """This very process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        assert host.listener(host.Roots(), port) == os.getpid()
    assert host.listener(host.Roots(), port) is None
    assert host.process(host.Roots(), os.getpid()) == host.process(host.Roots(), os.getpid()) is not None
    assert host.process(host.Roots(), 2**22 + 1) is None
    made = host.node(host.Roots(), None)
    assert made["inventory_name"] == socket.gethostname()
    assert made["cpus"] and made["boot_id"] and made["memory_bytes"] > 0


def fake(roots: host.Roots, **files: str) -> None:
    directory = roots.proc / "9"
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def test_command_line_without_secrets(tmp_path: Path) -> None:
    roots = host.Roots(proc=tmp_path)
    words = [
        "llama-server",
        "--api-key",
        "sk-1",
        "-c",
        "4096",
        "--hf-token=hf-2",
        "--api-key-file",
        "/etc/k",
        "-dev",
        "none",
    ]
    environment = "GGML_VK_VISIBLE_DEVICES=0\0HOME=/root\0VLLM_API_KEY=sk-3\0HSA_OVERRIDE_GFX_VERSION=9.0.6\0"
    fake(roots, cmdline="\0".join(words) + "\0", environ=environment, maps="7f /usr/lib/libvulkan_lvp.so\n")
    shown = host.command_line(roots, 9)
    assert shown == [*words[:2], "(hidden)", "-c", "4096", "--hf-token=(hidden)", *words[6:]]
    assert host.environment(roots, 9) == {"GGML_VK_VISIBLE_DEVICES": "0", "HSA_OVERRIDE_GFX_VERSION": "9.0.6"}
    assert host.backend(roots, 9) == "cpu"  # every backend is loaded, none may be used
    (roots.proc / "9/cmdline").write_text("llama-server\0-dev\0Vulkan0\0")
    assert host.backend(roots, 9) == "vulkan (llvmpipe, software)"
    assert host.command_line(roots, None) is None
    assert host.backend(roots, 10) is None
