"""Does it fit? Against sizes published for two models on a card of 32752 MiB (field note benchmarking.md, 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mi50.models import fit, shape
from mi50.models.errors import ModelError
from mi50.models.fit import GIB, Ask
from mi50.models.shape import Layer, Model, Weights

from tests.unit.models import made_up

CARD = 34342961152  # mem_info_vram_total of an MI50 with 32 GB
SMALL_CARD = 16 * GIB
LONG = 131072
PROJECTOR = 858 * 10**6  # gemma's, in F16: 0.8 GiB


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("gemma") / "gemma-3-27b-it-q4_0.gguf"
    return shape.of_file(made_up.write(path, made_up.GEMMA, list(made_up.gemma_tensors())))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("qwen") / "qwen3-30b-a3b-q4_k_m.gguf"
    return shape.of_file(made_up.write(path, made_up.QWEN, list(made_up.qwen_tensors())))


def gib(size: float) -> float:
    return round(size / GIB, 1)


def test_gemma_weighs_what_it_weighs(gemma: Model) -> None:
    assert gib(gemma.weights.total) == 16.0
    assert sum(layer.window == 0 for layer in gemma.layers) == 10
    assert sum(layer.window == 1024 for layer in gemma.layers) == 52


def test_qwen_weighs_what_it_weighs(qwen: Model) -> None:
    assert gib(qwen.weights.total) == 17.3


def test_keys_and_values_of_a_token(gemma: Model, qwen: Model) -> None:
    """80 KiB a token in gemma's global layers, 96 KiB in qwen's."""
    step = fit.kv_bytes(gemma, 65537 + 256) - fit.kv_bytes(gemma, 65537)
    assert step / 256 == 80 * 1024
    assert fit.kv_bytes(qwen, 1) == 96 * 1024


def test_keys_and_values_of_a_long_context(gemma: Model, qwen: Model) -> None:
    assert gib(fit.kv_bytes(gemma, LONG)) == 10.6
    assert gib(fit.kv_bytes(gemma, LONG, windowed=False)) == 62.0
    assert gib(fit.kv_bytes(qwen, LONG)) == 12.0
    assert gib(fit.kv_bytes(qwen, LONG, "q8_0")) == 6.4


def test_gemma_fits_with_its_projector(gemma: Model) -> None:
    verdict = fit.judge(gemma, Ask(LONG, extra=PROJECTOR), [CARD])
    assert (verdict.ok, verdict.tight) == (True, False)
    assert gib(verdict.cards[0].total) == 28.4
    assert verdict.context == LONG


def test_qwen_is_tight_with_one_slot_and_impossible_with_four(qwen: Model) -> None:
    verdict = fit.judge(qwen, Ask(LONG), [CARD])
    assert (verdict.ok, verdict.tight, gib(verdict.cards[0].total)) == (True, True, 30.3)
    full = fit.judge(qwen, Ask(LONG, slots=4), [CARD])
    assert not full.ok
    assert 32768 < full.context < 65536
    assert f"at most {full.context} tokens fit" in full.text
    assert fit.judge(qwen, Ask(full.context, slots=4), [CARD]).ok
    assert not fit.judge(qwen, Ask(full.context + 256, slots=4), [CARD]).ok


@pytest.mark.parametrize("name", ["gemma", "qwen"])
def test_neither_fits_where_vulkan_sees_16_gb(name: str, request: pytest.FixtureRequest) -> None:
    verdict = fit.judge(request.getfixturevalue(name), Ask(LONG), [SMALL_CARD])
    assert (verdict.ok, verdict.context) == (False, 0)
    assert "does not fit with any context" in verdict.text
    assert "which has 16.0 GiB" in verdict.text


def test_the_configuration_says_the_same_as_the_gguf(gemma: Model, qwen: Model) -> None:
    for model, config in ((gemma, made_up.GEMMA_CONFIG), (qwen, made_up.QWEN_CONFIG)):
        other = shape.of_config(config, "x", model.weights.total)
        assert other.layers == model.layers
        assert (other.context_max, other.heads) == (model.context_max, model.heads)
        assert other.weights.total == model.weights.total


def test_layers_over_two_cards(qwen: Model) -> None:
    first, second = fit.estimate(qwen, Ask(LONG, pipeline=2))
    assert gib(first.kv) == gib(second.kv) == 6.0
    assert first.weights + second.weights == qwen.weights.total
    assert second.weights - first.weights == qwen.weights.rest


def test_heads_over_cards_are_never_cut(qwen: Model) -> None:
    whole = fit.kv_bytes(qwen, LONG)
    kv = {size: fit.estimate(qwen, Ask(LONG, tensor=size))[0].kv for size in (1, 2, 4, 8)}
    assert kv == {1: whole, 2: whole // 2, 4: whole // 4, 8: whole // 4}
    cards = fit.estimate(qwen, Ask(LONG, tensor=2, pipeline=2))
    assert len(cards) == 4
    assert cards[0] == cards[1]


def test_the_fullest_card_decides(qwen: Model) -> None:
    verdict = fit.judge(qwen, Ask(32768, pipeline=2), [CARD, 8 * GIB])
    assert not verdict.ok
    assert "on the fullest of the cards, which has 8.0 GiB" in verdict.text


BAD_ASKS: list[tuple[dict[str, Any], list[int], str]] = [
    ({"context": 300000}, [CARD], "a context of 300000 tokens is asked for, but the model was made for 262144"),
    ({"context": 1024, "kv_type": "fp8"}, [CARD], "'fp8' is no type of keys and values; known: f32, f16"),
    ({"context": 0}, [CARD], "context is 0; it is at least 1"),
    ({"context": 1024, "slots": -1}, [CARD], "slots is -1"),
    ({"context": 1024, "tensor": 2}, [CARD], "2 x 1 cards are asked for, but 1 are there"),
    ({"context": 1024, "pipeline": 49}, [CARD] * 49, "has 48 layers, too few for 49 stages"),
]


@pytest.mark.parametrize(("ask", "vram", "words"), BAD_ASKS, ids=[words[:30] for _ask, _vram, words in BAD_ASKS])
def test_bad_asks_are_named(qwen: Model, ask: dict[str, Any], vram: list[int], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        fit.judge(qwen, Ask(**ask), vram)
    assert words in str(caught.value)


def layers_of(config: dict[str, Any]) -> tuple[Layer, ...]:
    base = {"num_hidden_layers": 4, "num_attention_heads": 8, "hidden_size": 512}
    return shape.of_config({**base, **config}, "x", 1000).layers


FULL, NEAR, NONE = Layer(8, 128, 0), Layer(8, 128, 99), Layer(0, 128, 0)
LATE = {"use_sliding_window": True, "max_window_layers": 3}
FIRST = ["full_attention", *["sliding_attention"] * 3]
SHAPES: list[tuple[str, dict[str, Any], list[Layer]]] = [
    ("plain", {}, [FULL] * 4),
    ("grouped", {"num_key_value_heads": 2, "head_dim": 96}, [Layer(2, 192, 0)] * 4),
    ("every layer windowed", {"sliding_window": 99}, [NEAR] * 4),
    ("window switched off", {"sliding_window": 99, "use_sliding_window": False}, [FULL] * 4),
    ("first layers full", {"sliding_window": 99, **LATE}, [FULL] * 3 + [NEAR]),
    ("every second", {"sliding_window": 99, "sliding_window_pattern": 2}, [NEAR, FULL] * 2),
    ("listed", {"sliding_window": 99, "layer_types": FIRST}, [FULL] + [NEAR] * 3),
    ("hybrid", {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, [NONE] * 3 + [FULL]),
    ("latent", {"kv_lora_rank": 512, "qk_rope_head_dim": 64}, [Layer(1, 576, 0)] * 4),
]


@pytest.mark.parametrize(("config", "expected"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_layers_of_configurations(config: dict[str, Any], expected: list[Layer]) -> None:
    assert list(layers_of(config)) == expected


@pytest.mark.parametrize("missing", ["num_hidden_layers", "num_attention_heads"])
def test_configuration_without_a_language_model(missing: str) -> None:
    config = {key: value for key, value in made_up.QWEN_CONFIG.items() if key != missing}
    with pytest.raises(ModelError, match=f"has no {missing}"):
        shape.of_config(config, "x", 1)


def gguf_layers(tmp_path: Path, architecture: str, **more: Any) -> list[Layer]:
    metadata, tensors = made_up.small(architecture, layers=4)
    metadata.update({f"{architecture}.{key.replace('__', '.')}": value for key, value in more.items()})
    return list(shape.of_file(made_up.write(tmp_path / "x.gguf", metadata, tensors)).layers)


def test_layers_of_gguf_variants(tmp_path: Path) -> None:
    full, near = Layer(2, 32, 0), Layer(2, 32, 99)
    assert gguf_layers(tmp_path, "llama") == [full] * 4
    # An unknown way to mix windows counts as no window: the estimate is never too low.
    assert gguf_layers(tmp_path, "newarch", attention__sliding_window=99) == [full] * 4
    assert gguf_layers(tmp_path, "gpt-oss", attention__sliding_window=99) == [near, full] * 2
    listed = {"attention__sliding_window": 99, "attention__sliding_window_pattern": [True, True, False]}
    assert gguf_layers(tmp_path, "x", **listed) == [near, near, full, near]
    assert gguf_layers(tmp_path, "x", attention__head_count_kv=[0, 2, 0, 2]) == [Layer(0, 32, 0), full] * 2
    assert gguf_layers(tmp_path, "qwen3next", full_attention_interval=4) == [Layer(0, 32, 0)] * 3 + [full]
    assert (
        gguf_layers(tmp_path, "deepseek2", attention__kv_lora_rank=512, rope__dimension_count=64)
        == [Layer(1, 576, 0)] * 4
    )


def test_a_layer_past_the_last_is_not_one_of_the_models() -> None:
    tensors = [("model.layers.0.x", 10), ("model.layers.4.x", 7), ("vision_tower.encoder.layers.0.x", 3)]
    base = {"num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 512}
    assert shape.of_config(base, "x", tensors).weights == Weights((10,), 10)
