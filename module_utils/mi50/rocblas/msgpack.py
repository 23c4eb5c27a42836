"""A MessagePack reader for Tensile's catalogs: standard library only, bounded, and it raises nothing but MsgpackError.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md. Extension types are refused: Tensile writes none.
"""

from __future__ import annotations

import struct
from typing import Union

# Tensile's lazy index is 22 levels deep; a file that nests deeper than this is an attack on the stack.
MAX_DEPTH = 64
MAX_BYTES = 64 * 1024 * 1024
# A container costs at least one byte an element, so MAX_BYTES bounds the elements as well.

FIXMAP, FIXARRAY, FIXSTR, NIL, NEGATIVE = 0x80, 0x90, 0xA0, 0xC0, 0xE0
_SCALARS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_STRINGS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}


Value = Union[None, bool, int, float, str, bytes, list["Value"], dict["Key", "Value"]]
Key = Union[None, bool, int, float, str, bytes]


class MsgpackError(ValueError):
    """The bytes are not one well-formed MessagePack value within the limits."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise MsgpackError(f"ends at byte {len(self.data)}, {end} needed")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, form: str) -> float:
        result: float = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return result

    def count(self, form: str) -> int:
        return int(self.number(form))

    def text(self, count: int) -> str:
        # Surrogates keep undecodable bytes distinguishable instead of failing on a name nobody asks for.
        return self.take(count).decode("utf-8", "surrogateescape")

    def array(self, count: int, depth: int) -> list[Value]:
        self.expect(count)
        return [self.value(depth + 1) for dummy in range(count)]

    def map(self, count: int, depth: int) -> dict[Key, Value]:
        self.expect(2 * count)
        result: dict[Key, Value] = {}
        for dummy in range(count):
            key = self.value(depth + 1)
            if isinstance(key, (list, dict)):
                raise MsgpackError(f"a container as map key before byte {self.at}")
            result[key] = self.value(depth + 1)
        return result

    def expect(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise MsgpackError(f"{count} elements announced at byte {self.at}, {len(self.data) - self.at} bytes left")

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise MsgpackError(f"nested deeper than {MAX_DEPTH}")
        tag = self.take(1)[0]
        if tag < FIXMAP:
            return tag
        if tag >= NEGATIVE:
            return tag - 256
        if tag < NIL:
            return self.small(tag, depth)
        return self.sized(tag, depth)

    def small(self, tag: int, depth: int) -> Value:
        if tag < FIXARRAY:
            return self.map(tag - FIXMAP, depth)
        if tag < FIXSTR:
            return self.array(tag - FIXARRAY, depth)
        return self.text(tag - FIXSTR)

    def sized(self, tag: int, depth: int) -> Value:
        if tag in _SCALARS:
            return _SCALARS[tag]
        if tag in _NUMBERS:
            return self.number(_NUMBERS[tag])
        if tag in _STRINGS:
            return self.text(self.count(_STRINGS[tag]))
        if tag in _BYTES:
            return self.take(self.count(_BYTES[tag]))
        if tag in _ARRAYS:
            return self.array(self.count(_ARRAYS[tag]), depth)
        if tag in _MAPS:
            return self.map(self.count(_MAPS[tag]), depth)
        raise MsgpackError(f"unknown or extension type 0x{tag:02x} at byte {self.at - 1}")


def loads(data: bytes) -> Value:
    """Decode exactly one value that fills `data`; MsgpackError for anything else."""
    if len(data) > MAX_BYTES:
        raise MsgpackError(f"{len(data)} bytes, at most {MAX_BYTES} are read")
    reader = _Reader(data)
    result = reader.value(0)
    if reader.at != len(data):
        raise MsgpackError(f"{len(data) - reader.at} bytes follow the value")
    return result
