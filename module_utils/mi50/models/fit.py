"""Will a model fit on the cards with this much context? An estimate before anything is downloaded or started.

Per card: its share of the weights, its share of keys and values, and what an engine takes besides. The formulas are
those of field practice (sizes of llama.cpp's and vLLM's caches); the test values are measured sizes of two models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .errors import ModelError
from .shape import Layer, Model

GIB = 1 << 30
# Compute buffers, runtime, graphs: about a gibibyte a card for llama.cpp on models of up to 30 B.
OVERHEAD = GIB
# Less than this left over is called tight: a second slot or a longer prompt batch fails then.
MARGIN = 2 * GIB
# Tokens a windowed layer keeps beyond its window: the batch under work (llama.cpp's default n_ubatch).
BATCH = 512
_CELLS = 256  # llama.cpp rounds its caches up to this many tokens

# Bytes of one element of keys and values; quantised ones have their scales in (block bytes / 32 elements).
KV_TYPES: dict[str, float] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}


class Ask(NamedTuple):
    """How a model shall run.

    `context`: tokens a request may have; `slots`: requests at a time, each with that context; `tensor`: cards that
    share every layer; `pipeline`: cards (or groups) that hold layers one after another; `windowed`: whether the engine
    keeps but the window of windowed layers (llama.cpp does without --swa-full); `extra`: bytes beside the weights on
    the first card, such as an image projector; `overhead`: bytes the engine takes on each card.
    """

    context: int
    slots: int = 1
    kv_type: str = "f16"
    tensor: int = 1
    pipeline: int = 1
    windowed: bool = True
    extra: int = 0
    overhead: int = OVERHEAD


class Card(NamedTuple):
    """What one card has to hold, in bytes."""

    weights: int
    kv: int
    overhead: int

    @property
    def total(self) -> int:
        """Return all of it."""
        return self.weights + self.kv + self.overhead


class Fit(NamedTuple):
    """The verdict: `left` are the bytes free on the fullest card, `context` the longest that fits (0: none)."""

    ok: bool
    tight: bool
    cards: tuple[Card, ...]
    left: int
    context: int
    text: str


def estimate(model: Model, ask: Ask) -> tuple[Card, ...]:
    """Return what each card has to hold, in the order of the stages, the cards of a stage side by side.

    Raises ModelError for an ask that makes no sense.
    """
    _check(ask)
    if ask.pipeline > len(model.layers):
        raise ModelError(f"{model.name}: has {len(model.layers)} layers, too few for {ask.pipeline} stages.")
    stages = _stages(len(model.layers), ask.pipeline)
    cards: list[Card] = []
    for number, stage in enumerate(stages):
        weights = sum(model.weights.layers[at] for at in stage)
        if number == ask.pipeline - 1:  # the head is the bulk of it and lies where the last layer does
            weights += model.weights.rest
        weights += ask.extra if number == 0 else 0
        kv = sum(_kv(model.layers[at], ask) for at in stage)
        cards += [Card(-(-weights // ask.tensor), kv, ask.overhead)] * ask.tensor
    return tuple(cards)


def judge(model: Model, ask: Ask, vram: Sequence[int]) -> Fit:
    """Compare the estimate with the memory of the cards, `vram` bytes each, in the order they are used.

    Raises ModelError when their number is not `tensor` times `pipeline`, or the context is longer than the model's.
    """
    if len(vram) != ask.tensor * ask.pipeline:
        raise ModelError(
            f"{model.name}: {ask.tensor} x {ask.pipeline} cards are asked for, but {len(vram)} are there. "
            "Tensor times pipeline is the number of cards."
        )
    if model.context_max and ask.context > model.context_max:
        raise ModelError(
            f"{model.name}: a context of {ask.context} tokens is asked for, but the model was made for "
            f"{model.context_max}. Ask for that or less."
        )
    cards = estimate(model, ask)
    lefts = [have - card.total for card, have in zip(cards, vram)]
    worst = min(range(len(cards)), key=lefts.__getitem__)
    left = lefts[worst]
    longest = _longest(model, ask, vram)
    return Fit(
        left >= 0, 0 <= left < MARGIN, cards, left, longest, _text(model, ask, cards[worst], vram[worst], longest)
    )


def kv_bytes(model: Model, context: int, kv_type: str = "f16", *, windowed: bool = True) -> int:
    """Return the bytes of keys and values of one request of `context` tokens, over all layers and cards."""
    ask = Ask(context, kv_type=kv_type, windowed=windowed)
    _check(ask)
    return sum(_kv(layer, ask) for layer in model.layers)


def _check(ask: Ask) -> None:
    if ask.kv_type not in KV_TYPES:
        raise ModelError(f"{ask.kv_type!r} is no type of keys and values; known: {', '.join(KV_TYPES)}.")
    for name in ("context", "slots", "tensor", "pipeline"):
        if getattr(ask, name) < 1:
            raise ModelError(f"{name} is {getattr(ask, name)}; it is at least 1.")


def _stages(count: int, pipeline: int) -> list[range]:
    """Layers of each stage: as even as can be, earlier stages take what is left over."""
    even, more = divmod(count, pipeline)
    stages, begin = [], 0
    for number in range(pipeline):
        end = begin + even + (1 if number < more else 0)
        stages.append(range(begin, end))
        begin = end
    return stages


def _kv(layer: Layer, ask: Ask) -> int:
    """Bytes of keys and values of one layer on one card. A head is never cut: with too few, cards hold the same."""
    if not layer.kv_heads:
        return 0
    tokens = ask.context
    if layer.window and ask.windowed:
        tokens = min(tokens, -(-(layer.window + BATCH) // _CELLS) * _CELLS)
    heads = -(-layer.kv_heads // ask.tensor)
    return math.ceil(heads * layer.elements * KV_TYPES[ask.kv_type] * tokens * ask.slots)


def _longest(model: Model, ask: Ask, vram: Sequence[int]) -> int:
    """Return the longest context that fits, a multiple of 256 tokens; 0 when not even that does."""

    def fits(cells: int) -> bool:
        cards = estimate(model, ask._replace(context=max(1, cells * _CELLS)))
        return all(card.total <= have for card, have in zip(cards, vram))

    low, high = 0, max(model.context_max or ask.context, ask.context) // _CELLS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low * _CELLS


def _text(model: Model, ask: Ask, card: Card, have: int, longest: int) -> str:
    slots = f" x {ask.slots} slots" if ask.slots > 1 else ""
    share = " on the fullest of the cards" if ask.tensor * ask.pipeline > 1 else ""
    said = (
        f"{model.name}: {_gib(card.weights)} of weights + {_gib(card.kv)} for {ask.context} tokens{slots} "
        f"({ask.kv_type}) + {_gib(card.overhead)} besides = {_gib(card.total)}{share}, which has {_gib(have)}"
    )
    if card.total <= have:
        return said
    way_out = f"at most {longest} tokens fit" if longest else "it does not fit with any context"
    return f"{said}: {way_out}. Ask for less context, fewer slots, a smaller quantisation, or more cards."


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
