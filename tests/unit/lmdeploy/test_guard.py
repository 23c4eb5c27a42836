"""lmdeploy: what is refused by name before anything is started, its flags, and the launcher that asks for the key."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mi50.lmdeploy import guard, launch
from mi50.vllm import mi50_key

from tests.unit.vllm.test_guard import QWEN3_8B_AWQ

PLAIN = {key: value for key, value in QWEN3_8B_AWQ.items() if key != "quantization_config"}
SPEC = {key: spec.get("default") for key, spec in guard.SPEC.items()}
AWQ = QWEN3_8B_AWQ["quantization_config"]


def judged(config: dict[str, Any], cards: int = 1, **changes: Any) -> guard.cards.Verdict:
    options = {**SPEC, "model": "/m/qwen", **changes}
    return guard.judge(config, options, guard.settings_of(options, cards), "qwen")


def quantised(**changes: Any) -> dict[str, Any]:
    return {**PLAIN, "quantization_config": changes}


@pytest.mark.parametrize("config", [PLAIN, QWEN3_8B_AWQ, quantised(quant_method="smooth_quant", quant_dtype="int8")])
def test_served(config: dict[str, Any]) -> None:
    found = judged(config)
    assert found.problems == []
    assert "experimental" in found.warnings[0]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "TurboMind": (PLAIN, {"backend": "turbomind"}, 1, "TurboMind is CUDA's and is not built for ROCm"),
    "bfloat16": (PLAIN, {"dtype": "bfloat16"}, 1, "lmdeploy_dtype is 'bfloat16'"),
    "GPTQ": (quantised(quant_method="gptq", bits=4), {}, 1, "reads no GPTQ"),
    "fp8": (quantised(quant_method="fp8"), {}, 1, "gfx906 has no fp8"),
    "smooth_quant in fp8": (quantised(quant_method="smooth_quant", quant_dtype="float8_e4m3fn"), {}, 1, "no fp8"),
    "compressed-tensors": (quantised(config_groups={"a": {}}), {}, 1, "reads no compressed-tensors"),
    "unknown format": (quantised(quant_method="nvqx"), {}, 1, "has no kernels for it"),
    "AWQ of 8 bits": (quantised(**{**AWQ, "bits": 8}), {}, 1, "awq with 8 bits"),
    "heads": (PLAIN, {}, 3, "lmdeploy_tensor_parallel"),
    "context": (PLAIN, {"context": 65536}, 1, "lmdeploy_context is 65536"),
    "own code": ({**PLAIN, "auto_map": {"x": "y"}}, {}, 1, "lmdeploy_trust_remote_code: true"),
    "key as a flag": (PLAIN, {"extra_args": ["--api-keys", "x"]}, 1, "which the role sets itself"),
    "a way to stop it": (PLAIN, {"extra_args": ["--allow-terminate-by-client"]}, 1, "let clients stop the server"),
    "several nodes": (PLAIN, {"extra_args": ["--nnodes=2"]}, 1, "several nodes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    config, changes, cards, words = REFUSED[case]
    text = "; ".join(judged(config, cards, **changes).problems)
    assert words in text
    assert "vllm_" not in text


def test_options_of_the_cards() -> None:
    options = {**SPEC, "model": "/m", "tensor_parallel": 1, "memory_share": 2.0, "environment": {"HF_TOKEN": "x"}}
    found = "; ".join(guard.problems_of(options, guard.settings_of(options, 2), 2))
    assert all(word in found for word in ("there are 2 cards", "lmdeploy_memory_share is 2.0", "HF_TOKEN"))


def test_flags() -> None:
    options = {**SPEC, "model": "/m/qwen", "kv_quant": 8}
    text = " ".join(guard.flags(options, guard.settings_of(options, 2), "qwen", "127.0.0.1", "{port}"))
    assert text.startswith("serve api_server /m/qwen --backend pytorch")
    for words in ("--server-name 127.0.0.1 --server-port {port}", "--tp 2", "--quant-policy 8", "--dtype float16"):
        assert words in text
    assert "--distributed-executor-backend mp" in text
    assert "key" not in text


def test_launcher_guards_what_uvicorn_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 40)
    monkeypatch.setenv("MI50_KEY_FILE", str(key))
    served: list[Any] = []
    uvicorn, cli, package = ModuleType("uvicorn"), ModuleType("lmdeploy.cli"), ModuleType("lmdeploy")
    uvicorn.run = lambda app, **settings: served.append((app, settings))  # type: ignore[attr-defined]

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})

    # As lmdeploy does: by keyword, and looked up when it serves.
    cli.run = lambda: sys.modules["uvicorn"].run(app=engine, port=1)  # type: ignore[attr-defined]
    for name, module in (("uvicorn", uvicorn), ("lmdeploy.cli", cli), ("lmdeploy", package), ("mi50_key", mi50_key)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["mi50_lmdeploy.py", "serve"])
    launch.main()
    ((application, settings),) = served
    assert settings == {"port": 1}
    assert [status(application, headers) for headers in ([], [(b"authorization", b"Bearer " + b"k" * 40)])] == [
        401,
        200,
    ]


def status(application: Any, headers: list[tuple[bytes, bytes]]) -> int:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application({"type": "http", "path": "/v1/models", "headers": headers}, None, send))
    return int(sent[0]["status"])


def test_launcher_does_not_start_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI50_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(OSError):
        mi50_key.RequireKey(lambda *_: None)  # type: ignore[arg-type, return-value]
