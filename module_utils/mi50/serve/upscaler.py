"""A network of ESRGAN's shape whose answer is known: every pixel of a picture becomes four times four pixels.

The check of ComfyUI runs it. Its convolutions have the sizes of a real upscaler (64 features, 32 grown ones), so that
the same kernels work, and weights that copy, cancel and average: what comes out can be compared with what should.
Written in the safetensors format (huggingface/safetensors, README "Format"), so that no torch is needed to make it.
Shape: xinntao/ESRGAN, RRDBNet_arch.py: three dense blocks of five convolutions, twice enlarged by nearest neighbours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

FEATURES, GROWTH, SCALE = 64, 32, 4
_TAPS = 9  # of a kernel of 3 x 3; the fourth is its middle
_MIDDLE = 4

Entries = dict[tuple[int, int], float]


def network() -> bytes:
    """The file. The same bytes every time."""
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    blobs, at = [], 0
    for name, out, into, entries in _convolutions():
        for kind, shape, data in (
            ("weight", [out, into, 3, 3], _weight(out, into, entries)),
            ("bias", [out], bytes(4 * out)),
        ):
            head[f"{name}.{kind}"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
            blobs.append(data)
            at += len(data)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def _convolutions() -> Iterator[tuple[str, int, int, Entries]]:
    """Name, channels out and in, and what stands in the middle of the kernels, by (out, in).

    Every feature carries one of the three colours. A dense block grows copies of the first features; its last
    convolution adds a feature and takes its copy away, so that nothing is left of work that has been done.
    """
    same: Entries = {(one, one): 1.0 for one in range(FEATURES)}
    yield "conv_first", FEATURES, 3, {(one, one % 3): 1.0 for one in range(FEATURES)}
    grown: Entries = {(one, one): 1.0 for one in range(GROWTH)}
    cancelled: Entries = {}
    for one in range(GROWTH):
        cancelled[(one, one)] = 1.0
        cancelled[(one, FEATURES + (one % 4) * GROWTH + one)] = -1.0
    for block in ("rdb1", "rdb2", "rdb3"):
        for number in range(4):
            yield f"body.0.{block}.conv{number + 1}", GROWTH, FEATURES + number * GROWTH, grown
        yield f"body.0.{block}.conv5", FEATURES, FEATURES + 4 * GROWTH, cancelled
    # The body hands on 1.2 of what it got (it adds a fifth of itself), of which a half is added to what went past it.
    yield "conv_body", FEATURES, FEATURES, dict.fromkeys(same, 0.5)
    for name in ("conv_up1", "conv_up2", "conv_hr"):
        yield name, FEATURES, FEATURES, same
    counts = [len(range(colour, FEATURES, 3)) for colour in range(3)]
    yield "conv_last", 3, FEATURES, {(one % 3, one): 1.0 / 1.6 / counts[one % 3] for one in range(FEATURES)}


def _weight(out: int, into: int, entries: Entries) -> bytes:
    data = bytearray(4 * out * into * _TAPS)
    for (row, column), value in entries.items():
        struct.pack_into("<f", data, 4 * ((row * into + column) * _TAPS + _MIDDLE), value)
    return bytes(data)
