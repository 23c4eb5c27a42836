"""Stand-in for an image projector's weights (`--mmproj`): LLaVA's kind, random numbers, 3 MB.

Replaces: the vision tower of gemma3:27b (SigLIP, 400 million weights); no small vision model is on the package index.
Proves: the real path of an image: upload, decoding, resizing, encoding, 64 tokens a picture, prefill, caches, timings.
Does not prove: that anything is recognised. The model sees noise; its answers are wrong and the checkers must say so.
Nor Gemma's own geometry: its 256 tokens have to be processed in one batch, which takes software Vulkan a minute, while
these may come eight at a time.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

# GGUF 3: value and tensor types, alignment (the format's own defaults).
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
F32, F16 = 0, 1
ALIGNMENT = 32

# A picture is resized to 112 pixels a side: 8 x 8 patches.
PICTURE, PATCH, LAYERS, WIDTH, INNER, HEADS = 112, 14, 2, 128, 256, 2
SEED = 20251001

Value = str | int | float | bool | list[float]
Tensor = tuple[str, tuple[int, ...], int]


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pair(key: str, value: Value) -> bytes:
    head = _string(key)
    if isinstance(value, bool):
        return head + struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return head + struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return head + struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return head + struct.pack("<I", STRING) + _string(value)
    return head + struct.pack(f"<IIQ{len(value)}f", ARRAY, FLOAT32, len(value), *value)


def metadata(embedding: int) -> dict[str, Value]:
    """What llama.cpp's mtmd reads; `embedding` is the text model's width."""
    return {
        "general.architecture": "clip",
        "general.name": "standin projector (random weights)",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": PICTURE,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": INNER,
        "clip.vision.projection_dim": embedding,
        "clip.vision.block_count": LAYERS,
        "clip.vision.attention.head_count": HEADS,
        "clip.vision.attention.layer_norm_epsilon": 1e-6,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }


def tensors(embedding: int) -> Iterator[Tensor]:
    """Name, dimensions (innermost first) and type of every tensor."""
    patches = (PICTURE // PATCH) ** 2
    yield "v.patch_embd.weight", (PATCH, PATCH, 3, WIDTH), F16
    yield "v.patch_embd.bias", (WIDTH,), F32
    yield "v.position_embd.weight", (WIDTH, patches), F32
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield f"v.blk.{layer}.{name}.weight", (WIDTH, WIDTH), F16
            yield f"v.blk.{layer}.{name}.bias", (WIDTH,), F32
        for name, inside, outside in (("ffn_up", WIDTH, INNER), ("ffn_down", INNER, WIDTH)):
            yield f"v.blk.{layer}.{name}.weight", (inside, outside), F16
            yield f"v.blk.{layer}.{name}.bias", (outside,), F32
        for name in ("ln1", "ln2"):
            yield f"v.blk.{layer}.{name}.weight", (WIDTH,), F32
            yield f"v.blk.{layer}.{name}.bias", (WIDTH,), F32
    yield "v.post_ln.weight", (WIDTH,), F32
    yield "v.post_ln.bias", (WIDTH,), F32
    for number, inside in ((0, WIDTH), (2, embedding)):
        yield f"mm.{number}.weight", (inside, embedding), F16
        yield f"mm.{number}.bias", (embedding,), F32


def _numbers(source: random.Random, tensor: Tensor) -> bytes:
    name, dimensions, kind = tensor
    count = 1
    for size in dimensions:
        count *= size
    if name.endswith(("ln1.weight", "ln2.weight", "post_ln.weight")):
        return struct.pack(f"<{count}f", *([1.0] * count))
    values = (source.uniform(-0.08, 0.08) for _ in range(count))
    return struct.pack(f"<{count}{'e' if kind == F16 else 'f'}", *values)


def write(path: Path, embedding: int) -> None:
    """Write the projector for a text model of that embedding width; the same bytes every time."""
    source = random.Random(SEED)  # noqa: S311 - weights, not secrets
    pairs = metadata(embedding)
    directory, blobs, offset = b"", b"", 0
    every = list(tensors(embedding))
    for tensor in every:
        name, dimensions, kind = tensor
        blob = _numbers(source, tensor)
        blob += bytes(-len(blob) % ALIGNMENT)
        directory += _string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
        blobs += blob
        offset += len(blob)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(every), len(pairs))
    head += b"".join(_pair(key, value) for key, value in pairs.items()) + directory
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + blobs)
