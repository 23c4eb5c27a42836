"""What of a model decides the memory it takes: its layers, what each keeps of a token, and where its weights lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import gguf
from .errors import ModelError

# Every so manieth layer sees the whole context, the others a window: set_swa_pattern() of llama.cpp and the
# transformers library's own defaults, for files that do not say so themselves.
_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4}
_GGUF_LAYER = re.compile(r"^blk\.(\d+)\.")
_TENSOR_LAYER = re.compile(r"^(?:model\.|language_model\.|transformer\.)+(?:layers|h)\.(\d+)\.")
# What Google's config.json leave out (transformers, Gemma3TextConfig).
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "max_position_embeddings": 131072,
    },
}
_LOCAL = ("sliding_attention", "chunked_attention")
_KEEPS_NOTHING = ("linear_attention", "mamba", "recurrent", "conv")


class Layer(NamedTuple):
    """One layer: heads that keep keys and values, elements each keeps of a token, tokens it looks back (0: all)."""

    kv_heads: int
    elements: int
    window: int


class Weights(NamedTuple):
    """Bytes of each layer, and of all the rest (embeddings, head, vision tower)."""

    layers: tuple[int, ...]
    rest: int

    @property
    def total(self) -> int:
        """Return all bytes."""
        return sum(self.layers) + self.rest


class Model(NamedTuple):
    """One model: `context_max` in tokens (0: not said), `heads` that ask (0: not said)."""

    name: str
    architecture: str
    context_max: int
    heads: int
    layers: tuple[Layer, ...]
    weights: Weights


def of_gguf(header: gguf.Header, name: str = "", more: Iterable[gguf.Header] = ()) -> Model:
    """Return the model of a GGUF header; `more`: headers of the other parts of a split file.

    Raises ModelError for a file without the layers of a language model, such as an image projector.
    """
    count, heads = header.get("block_count"), header.get("attention.head_count")
    if not isinstance(count, int) or count < 1 or heads is None:
        kind = header.metadata.get("general.type") or header.architecture or "unknown"
        raise ModelError(
            f"{name}: is no language model but {kind!r}: it has no layers with attention. "
            "Give the model's own file; a projector goes beside it."
        )
    layers = _gguf_layers(header, count, heads)
    sizes = ((tensor.name, tensor.bytes) for part in (header, *more) for tensor in part.tensors)
    weights = _weights(_GGUF_LAYER, count, sizes)
    return Model(
        name or str(header.metadata.get("general.name", "")),
        header.architecture,
        int(header.get("context_length") or 0),
        max(_each(heads, count)),
        layers,
        weights,
    )


def _gguf_layers(header: gguf.Header, count: int, heads: Any) -> tuple[Layer, ...]:  # noqa: ANN401 - a number or a list
    embedding = int(header.get("embedding_length") or 0)
    default = embedding // max(_each(heads, count)) if embedding else 0
    keys = int(header.get("attention.key_length") or default)
    values = int(header.get("attention.value_length") or default)
    kv_heads = _each(header.get("attention.head_count_kv", heads), count)
    rank = int(header.get("attention.kv_lora_rank") or 0)
    if rank:  # multi-head latent attention: one compressed vector and the rotated part, for all heads together
        return (Layer(1, rank + int(header.get("rope.dimension_count") or 0), 0),) * count
    window = int(header.get("attention.sliding_window") or 0)
    pattern = header.get("attention.sliding_window_pattern", _PERIODS.get(header.architecture, 1))
    local = _local(pattern, count) if window else [False] * count
    interval = int(header.get("full_attention_interval") or 0)
    if interval:  # hybrids: only every so manieth layer has attention at all
        kv_heads = [number if (at + 1) % interval == 0 else 0 for at, number in enumerate(kv_heads)]
    return tuple(Layer(number, keys + values, window if near else 0) for number, near in zip(kv_heads, local))


def of_config(config: Mapping[str, Any], name: str, tensors: Iterable[tuple[str, int]] | int) -> Model:
    """Return the model of a config.json; `tensors`: name and bytes of each, or the bytes of all.

    Raises ModelError for a configuration without the numbers of a language model.
    """
    text = text_config(config)
    count = _number(text, ("num_hidden_layers", "n_layer", "n_layers"), name)
    heads = _number(text, ("num_attention_heads", "n_head", "n_heads"), name)
    if isinstance(tensors, int):
        weights = Weights((tensors // count,) * count, tensors % count)
    else:
        weights = _weights(_TENSOR_LAYER, count, tensors)
    context = int(text.get("max_position_embeddings") or text.get("n_positions") or 0)
    kind = str(config.get("model_type", text.get("model_type", "")))
    return Model(name, kind, context, heads, _config_layers(text, count, heads), weights)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part on the language model, with what its publisher left out."""
    text = config.get("text_config") or config.get("llm_config") or config
    return {**_DEFAULTS.get(str(text.get("model_type", "")), {}), **text}


def _config_layers(text: Mapping[str, Any], count: int, heads: int) -> tuple[Layer, ...]:
    if text.get("kv_lora_rank"):
        return (Layer(1, int(text["kv_lora_rank"]) + int(text.get("qk_rope_head_dim") or 0), 0),) * count
    size = int(text.get("head_dim") or int(text.get("hidden_size") or 0) // heads)
    number = int(text.get("num_key_value_heads") or heads)
    window = int(text.get("sliding_window") or 0) if text.get("use_sliding_window", True) else 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == count:
        return tuple(
            Layer(0 if kind in _KEEPS_NOTHING else number, 2 * size, window if kind in _LOCAL else 0) for kind in kinds
        )
    if not window:
        return (Layer(number, 2 * size, 0),) * count
    full = int(text.get("max_window_layers") or 0) if "use_sliding_window" in text else 0
    local = [at >= full for at in range(count)] if full else _local(text.get("sliding_window_pattern") or 0, count)
    return tuple(Layer(number, 2 * size, window if near else 0) for near in local)


def of_file(path: Path) -> Model:
    """Return the model of a GGUF file, the other parts of a split one included. Raises ModelError."""
    first = gguf.read(path)
    parts = int(first.metadata.get("split.count") or 1)
    found = re.match(r"(.*)-(\d{5})-of-(\d{5})\.gguf$", path.name)
    if parts < 2 or not found:
        return of_gguf(first, path.name)
    others = []
    for number in range(2, parts + 1):
        other = path.with_name(f"{found.group(1)}-{number:05d}-of-{found.group(3)}.gguf")
        others.append(gguf.read(other))
    return of_gguf(first, path.name, others)


def _weights(pattern: re.Pattern[str], count: int, sizes: Iterable[tuple[str, int]]) -> Weights:
    layers, rest = [0] * count, 0
    for name, size in sizes:
        found = pattern.match(name)
        # A layer past the last is one for speculation (MTP), which no engine here loads as one of the model's.
        if found and int(found.group(1)) < count:
            layers[int(found.group(1))] += size
        else:
            rest += size
    return Weights(tuple(layers), rest)


def _local(pattern: Any, count: int) -> list[bool]:  # noqa: ANN401 - a period or a list of flags
    """Tell of each layer whether it sees a window only: all but every period-th, or as listed; period 0: all."""
    if isinstance(pattern, list) and pattern:
        return [bool(pattern[at % len(pattern)]) for at in range(count)]
    period = int(pattern or 0)
    return [period == 0 or (at + 1) % period != 0 for at in range(count)]


def _each(value: Any, count: int) -> list[int]:  # noqa: ANN401 - a number or a list
    """Return a value for each layer."""
    if isinstance(value, list):
        return [int(value[at]) if at < len(value) else 0 for at in range(count)]
    return [int(value or 0)] * count


def _number(text: Mapping[str, Any], names: tuple[str, ...], name: str) -> int:
    for key in names:
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise ModelError(f"{name}: its config.json has no {names[0]}: it does not describe a language model.")
