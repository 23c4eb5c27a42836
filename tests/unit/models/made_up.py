"""GGUF files and configurations of two real models, made from their published numbers: headers true, data a hole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mi50.models import gguf

UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 6, 7, 8, 9, 10
NUMBERS = {label: number for number, (label, _block, _width) in gguf.TYPES.items()}
ALIGNMENT = 32

GEMMA = {
    "general.architecture": "gemma3",
    "general.name": "gemma-3-27b-it-qat",
    "gemma3.block_count": 62,
    "gemma3.embedding_length": 5376,
    "gemma3.context_length": 131072,
    "gemma3.attention.head_count": 32,
    "gemma3.attention.head_count_kv": 16,
    "gemma3.attention.key_length": 128,
    "gemma3.attention.value_length": 128,
    "gemma3.attention.sliding_window": 1024,
    "tokenizer.ggml.tokens": ["x"] * 5000,
}
QWEN = {
    "general.architecture": "qwen3moe",
    "general.name": "Qwen3-30B-A3B-Thinking-2507",
    "qwen3moe.block_count": 48,
    "qwen3moe.embedding_length": 2048,
    "qwen3moe.context_length": 262144,
    "qwen3moe.attention.head_count": 32,
    "qwen3moe.attention.head_count_kv": 4,
    "qwen3moe.attention.key_length": 128,
    "qwen3moe.attention.value_length": 128,
    "qwen3moe.expert_count": 128,
}
# As published; what the publisher leaves out is left out.
GEMMA_CONFIG: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "torch_dtype": "bfloat16",
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "sliding_window": 1024,
    },
}
QWEN_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "torch_dtype": "bfloat16",
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "max_position_embeddings": 262144,
    "max_window_layers": 48,
    "num_attention_heads": 32,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "use_sliding_window": False,
}

Tensor = tuple[str, tuple[int, ...], str]


def gemma_tensors() -> Iterator[Tensor]:
    """Google's Q4_0 with embeddings in F16: 17.2 GB."""
    yield "token_embd.weight", (5376, 262208), "F16"
    for at in range(62):
        for name, sizes in (
            ("attn_q", (5376, 4096)),
            ("attn_k", (5376, 2048)),
            ("attn_v", (5376, 2048)),
            ("attn_output", (4096, 5376)),
            ("ffn_gate", (5376, 21504)),
            ("ffn_up", (5376, 21504)),
            ("ffn_down", (21504, 5376)),
        ):
            yield f"blk.{at}.{name}.weight", sizes, "Q4_0"
        yield f"blk.{at}.attn_norm.weight", (5376,), "F32"
    yield "output_norm.weight", (5376,), "F32"


def qwen_tensors() -> Iterator[Tensor]:
    """Q4_K_M as llama-quantize mixes it: Q6_K for the head and half of attn_v and ffn_down: 18.6 GB."""
    yield "token_embd.weight", (2048, 151936), "Q4_K"
    yield "output.weight", (2048, 151936), "Q6_K"
    for at in range(48):
        better = "Q6_K" if at < 6 or at >= 42 or (at - 6) % 3 == 2 else "Q4_K"
        yield f"blk.{at}.attn_q.weight", (2048, 4096), "Q4_K"
        yield f"blk.{at}.attn_k.weight", (2048, 512), "Q4_K"
        yield f"blk.{at}.attn_v.weight", (2048, 512), better
        yield f"blk.{at}.attn_output.weight", (4096, 2048), "Q4_K"
        yield f"blk.{at}.ffn_gate_inp.weight", (2048, 128), "F32"
        yield f"blk.{at}.ffn_gate_exps.weight", (2048, 768, 128), "Q4_K"
        yield f"blk.{at}.ffn_up_exps.weight", (2048, 768, 128), "Q4_K"
        yield f"blk.{at}.ffn_down_exps.weight", (768, 2048, 128), better


def small(architecture: str = "llama", layers: int = 2) -> tuple[dict[str, Any], list[Tensor]]:
    """A model of a few kilobytes."""
    metadata = {
        "general.architecture": architecture,
        f"{architecture}.block_count": layers,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.context_length": 4096,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
    }
    tensors: list[Tensor] = [("token_embd.weight", (64, 100), "F16")]
    tensors += [(f"blk.{at}.attn_q.weight", (64, 64), "Q8_0") for at in range(layers)]
    return metadata, tensors


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    kind = _value(value[0])[:4]
    return struct.pack("<I", ARRAY) + kind + struct.pack("<Q", len(value)) + b"".join(_value(one)[4:] for one in value)


def header(metadata: dict[str, Any], tensors: list[Tensor]) -> tuple[bytes, int]:
    """The header's bytes, padded, and the bytes of data that follow."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    out += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    offset = 0
    for name, sizes, kind in tensors:
        number = NUMBERS[kind]
        out += _string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, number, offset)
        _label, block, width = gguf.TYPES[number]
        rows = 1
        for size in sizes[1:]:
            rows *= size
        data = rows * -(-sizes[0] // block) * width
        offset += data + -data % ALIGNMENT
    return out + bytes(-len(out) % ALIGNMENT), offset


def write(path: Path, metadata: dict[str, Any], tensors: list[Tensor]) -> Path:
    """A file of full length whose data is a hole: 17 GB that take no space."""
    head, data = header(metadata, tensors)
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + data)
    return path
