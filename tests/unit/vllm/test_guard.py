"""What a gfx906 card serves, by real models' configurations; every refusal says why and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from mi50.vllm import guard
from mi50.vllm.guard import Settings

# Numbers as their publishers have them.
QWEN3_8B_AWQ: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float16", "head_dim": 128,
    "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32, "num_hidden_layers": 36,
    "num_key_value_heads": 8, "max_position_embeddings": 40960,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
}  # fmt: skip
QWEN3_30B_GPTQ: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "torch_dtype": "bfloat16", "head_dim": 128,
    "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_attention_heads": 32, "num_hidden_layers": 48, "num_key_value_heads": 4, "max_position_embeddings": 40960,
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
}  # fmt: skip
GEMMA3_27B_W4A16: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16",
    "text_config": {
        "model_type": "gemma3_text", "head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504,
        "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16, "sliding_window": 1024,
    },
    "quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128}}},
    },
}  # fmt: skip


def changed(config: dict[str, Any], **quantisation: Any) -> dict[str, Any]:
    return {**config, "quantization_config": {**config["quantization_config"], **quantisation}}


def scheme(**weights: Any) -> dict[str, Any]:
    activations = weights.pop("input_activations", None)
    plain = {"num_bits": 4, "type": "int", "group_size": 128, **weights}
    return changed(GEMMA3_27B_W4A16, config_groups={"group_0": {"weights": plain, "input_activations": activations}})


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (QWEN3_8B_AWQ, Settings()),
        (QWEN3_8B_AWQ, Settings(tensor=2, context=40960)),
        (QWEN3_8B_AWQ, Settings(tensor=8)),
        (QWEN3_30B_GPTQ, Settings(tensor=2)),
        (QWEN3_30B_GPTQ, Settings(tensor=4, expert_parallel=True)),
        (GEMMA3_27B_W4A16, Settings(tensor=2, context=131072)),
        (GEMMA3_27B_W4A16, Settings(pipeline=2, dtype="float32", kv_type="float16")),
        ({**QWEN3_8B_AWQ, "quantization_config": None}, Settings(tensor=4)),
    ],
    ids=["awq", "awq-2", "awq-8", "moe-2", "moe-4-experts", "w4a16-2", "w4a16-pp", "plain"],
)
def test_served(config: dict[str, Any], settings: Settings) -> None:
    assert guard.judge(config, settings, "m").problems == []


REFUSED: list[tuple[str, dict[str, Any], Settings, list[str]]] = [
    ("bf16", QWEN3_8B_AWQ, Settings(dtype="bfloat16"), ["vllm_dtype is 'bfloat16': gfx906 has no bfloat16", "float16"]),
    ("fp8 dtype", QWEN3_8B_AWQ, Settings(dtype="fp8"), ["gfx906 has no fp8"]),
    ("auto", QWEN3_8B_AWQ, Settings(dtype="auto"), ["vllm_dtype is 'auto'"]),
    ("fp8 cache", QWEN3_8B_AWQ, Settings(kv_type="fp8_e5m2"), ["vllm_kv_type is 'fp8_e5m2': gfx906 has no fp8"]),
    (
        "fp8 weights",
        changed(QWEN3_8B_AWQ, quant_method="fp8"),
        Settings(),
        ["quantised with fp8: gfx906 has no fp8", "GPTQ or AWQ"],
    ),
    ("bitsandbytes", changed(QWEN3_8B_AWQ, quant_method="bitsandbytes"), Settings(), ["no kernels for gfx906"]),
    ("mxfp4", changed(QWEN3_8B_AWQ, quant_method="mxfp4"), Settings(), ["no mxfp4"]),
    (
        "new format",
        changed(QWEN3_8B_AWQ, quant_method="nvqx"),
        Settings(),
        ["quantised with nvqx: the gfx906 fork has no kernels"],
    ),
    ("awq 8 bit", changed(QWEN3_8B_AWQ, bits=8), Settings(), ["awq with 8 bits is not served"]),
    (
        "w8a8",
        scheme(num_bits=8, input_activations={"num_bits": 8}),
        Settings(),
        ["compressed-tensors with int8 weights with quantised activations", "W4A16 INT"],
    ),
    ("w4 float", scheme(type="float"), Settings(), ["with float4 weights"]),
    ("nothing named", changed(GEMMA3_27B_W4A16, config_groups={}), Settings(), ["names no weights"]),
    (
        "desc_act",
        changed(QWEN3_30B_GPTQ, desc_act=True),
        Settings(tensor=2),
        ["GPTQ with desc_act", "vllm_tensor_parallel: 1 and vllm_pipeline_parallel: 2"],
    ),
    (
        "moe groups",
        QWEN3_30B_GPTQ,
        Settings(tensor=4),
        [
            "group size 128: moe_intermediate_size 768 over 4 cards gives 192, no multiple of 128",
            "1 or 2, vllm_expert_parallel: true",
        ],
    ),
    (
        "dense groups",
        changed(GEMMA3_27B_W4A16, config_groups={"g": {"weights": {"num_bits": 4, "group_size": 1024}}}),
        Settings(tensor=4),
        ["intermediate_size 21504 over 4 cards gives 5376, no multiple of 1024", "vllm_tensor_parallel 1"],
    ),
    (
        "three cards",
        QWEN3_8B_AWQ,
        Settings(tensor=3),
        ["32 attention heads cannot be shared by 3 cards: vllm_tensor_parallel 1, 2, 4, 8 can"],
    ),
    (
        "kv heads",
        {**QWEN3_8B_AWQ, "num_key_value_heads": 6},
        Settings(tensor=4),
        ["6 key-value heads cannot be shared by 4"],
    ),
    ("layers", QWEN3_8B_AWQ, Settings(pipeline=37), ["has 36 layers, too few for vllm_pipeline_parallel 37"]),
    ("context", QWEN3_8B_AWQ, Settings(context=65536), ["vllm_context is 65536, but the model was made for 40960"]),
    ("context of gemma", GEMMA3_27B_W4A16, Settings(context=262144), ["made for 131072"]),
    ("no language model", {"model_type": "clip"}, Settings(), ["no num_attention_heads or num_hidden_layers"]),
    (
        "own code",
        {**QWEN3_8B_AWQ, "auto_map": {"AutoModel": "x.Y"}},
        Settings(),
        ["Python code of its own", "vllm_trust_remote_code"],
    ),
    ("key", QWEN3_8B_AWQ, Settings(extra=("--api-key=x",)), ["has --api-key=x, which the role sets itself"]),
    ("fp8 by flag", QWEN3_8B_AWQ, Settings(extra=("--calculate=fp8",)), ["gfx906 has neither fp8 nor bfloat16"]),
    (
        "numbers",
        QWEN3_8B_AWQ,
        Settings(context=1, requests=0),
        ["vllm_context is 1: give 256", "vllm_max_requests is 0"],
    ),
]


@pytest.mark.parametrize(("config", "settings", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(config: dict[str, Any], settings: Settings, words: list[str]) -> None:
    found = "; ".join(guard.judge(config, settings, "m").problems)
    assert [word for word in words if word not in found] == []


def test_yarn_counts() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    config = {**QWEN3_8B_AWQ, "rope_scaling": yarn}
    assert guard.judge(config, Settings(context=131072), "m").problems == []
    assert guard.judge(config, Settings(context=131073), "m").problems != []


def test_own_code_after_it_was_allowed() -> None:
    config = {**QWEN3_8B_AWQ, "auto_map": {"AutoModel": "x.Y"}}
    assert guard.judge(config, Settings(trust_remote_code=True), "m").problems == []


def test_warnings() -> None:
    assert guard.judge(QWEN3_8B_AWQ, Settings(), "m").warnings == []
    assert "float16's range" in guard.judge(GEMMA3_27B_W4A16, Settings(), "m").warnings[0]
    assert guard.judge(GEMMA3_27B_W4A16, Settings(dtype="float32"), "m").warnings == []
    assert "mixture of experts" in guard.judge(QWEN3_30B_GPTQ, Settings(), "m").warnings[0]
    plain = {**QWEN3_8B_AWQ, "quantization_config": None}
    assert "not quantised" in guard.judge(plain, Settings(), "m").warnings[0]


def test_flags() -> None:
    words = " ".join(
        guard.flags(Settings(tensor=2, expert_parallel=True, extra=("--x",)), "/models/m", "a", 8000, 0.92)
    )
    assert "--dtype float16" in words
    assert "--tensor-parallel-size 2 --pipeline-parallel-size 1" in words
    assert "--middleware mi50_key.RequireKey" in words
    assert "--distributed-executor-backend mp --enable-expert-parallel --x" in words
    alone = guard.flags(Settings(kv_type="float16", trust_remote_code=True), "/models/m", "a", 8000, 0.9)
    assert "--distributed-executor-backend" not in alone
    assert "--kv-cache-dtype float16 --trust-remote-code" in " ".join(alone)
    assert not [word for word in alone if "key" in word.lower() and "mi50_key" not in word]
