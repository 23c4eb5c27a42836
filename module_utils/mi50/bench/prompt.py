"""What a request says: the nonce in front, filler for depth, images that no cache has seen.

The nonce is twelve decimal digits: all tokenizers of the suite's models spell digits one by one (or by threes), so
that every nonce is equally long in tokens.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

# Common words, one token each in the usual vocabularies; sentences of them make text of any length.
_TEXT = (
    "the river runs past old stone houses and a small bridge where people sell bread fish tea and warm clothes "
    "every morning before work begins in that quiet town near cold mountains with snow on their high tops"
)
_SENTENCE = 12
_PNG = b"\x89PNG\r\n\x1a\n"
_TOUCHED = 8  # bytes at the end of the last row that carry the nonce, one bit each


def nonce(seed: str, index: int) -> str:
    """Return twelve digits that depend on the seed and the request's number."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**12:012d}"


def filler(words: int, turn: str) -> str:
    """Return `words` words of sentences. `turn` turns the list, so that texts differ from the first word on."""
    if words <= 0:
        return ""
    pool = _TEXT.split()
    start = int(turn or "0") % len(pool)
    step = 1 + int(turn or "0") % 7
    chosen = [pool[(start + i + (i // len(pool)) * step) % len(pool)] for i in range(words)]
    return ". ".join(" ".join(chosen[i : i + _SENTENCE]) for i in range(0, words, _SENTENCE)) + ".\n\n"


class ImageError(ValueError):
    """An image is missing or is not what the suite says."""


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def vary_png(data: bytes, turn: str) -> bytes:
    """Return a PNG whose last pixels differ by one step, so that no cache keyed on pixels knows it.

    Changes the last bytes of the last row's filtered data: nothing behind them depends on them. Another format is
    returned as it is.
    """
    if not data.startswith(_PNG):
        return data
    chunks = _chunks(data)
    packed = b"".join(body for name, body in chunks if name == b"IDAT")
    try:
        raw = bytearray(zlib.decompress(packed))
    except zlib.error as error:
        raise ImageError(f"broken PNG: {error}") from error
    for bit in range(min(_TOUCHED * 4, len(raw) - 1)):
        if int(turn or "0") >> bit & 1:
            raw[-1 - bit] ^= 1
    out, written = [_PNG], False
    for name, body in chunks:
        if name != b"IDAT":
            out.append(_chunk(name, body))
        elif not written:
            out.append(_chunk(b"IDAT", zlib.compress(bytes(raw), 1)))
            written = True
    return b"".join(out)


def size(data: bytes) -> list[int]:
    """Return width and height of a PNG, nothing for other formats."""
    return list(struct.unpack_from(">II", data, 16)) if data.startswith(_PNG) and len(data) >= 24 else []


def data_url(data: bytes) -> str:
    """Return an image as a data URL."""
    kind = "png" if data.startswith(_PNG) else "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def load(images: Sequence[dict[str, str]]) -> list[bytes]:
    """Read a task's images. Raises ImageError for one that is missing or has another checksum."""
    found = []
    for image in images:
        try:
            data = Path(image["path"]).read_bytes()
        except OSError as error:
            raise ImageError(f"image {image.get('path')}: {error.strerror}") from error
        digest = hashlib.sha256(data).hexdigest()
        if image.get("sha256") and digest != image["sha256"]:
            raise ImageError(f"image {image['path']} has SHA-256 {digest}, the suite says {image['sha256']}")
        found.append(data)
    return found
