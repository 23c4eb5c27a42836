"""Read the header of a GGUF file: metadata and the list of tensors, never their data.

The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md; sizes of blocks: GGML_QUANT_SIZES of gguf-py.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .errors import ModelError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_KEEP = 4096  # elements of an array that are kept; vocabularies are longer and nobody here reads them
_MANY = 1 << 24  # more tensors, pairs or elements than any real file has
_LONG = 1 << 24  # bytes of a string; the longest real ones are chat templates
_DIMENSIONS = 4  # GGML_MAX_DIMS
_DEPTH = 4  # arrays within arrays
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# Tensor type: name, elements of a block, bytes of a block.
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}


class Source(Protocol):
    """What a header is read from: a file, or pieces of a remote one."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes, fewer at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """Return the place."""


class Tensor(NamedTuple):
    """One tensor: GGML's name of its type, its elements, where its data begins (from the first data), its bytes."""

    name: str
    type: str
    elements: int
    offset: int
    bytes: int


class Header(NamedTuple):
    """Metadata by key (long arrays are None), the tensors, and where the data of the first one begins in the file."""

    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    data_offset: int

    @property
    def architecture(self) -> str:
        """Return `general.architecture`."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def file_bytes(self) -> int:
        """Return how long the whole file has to be, in bytes."""
        return self.data_offset + max((tensor.offset + tensor.bytes for tensor in self.tensors), default=0)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - values have many types
        """Return a value of the architecture's own, such as `block_count`."""
        return self.metadata.get(f"{self.architecture}.{name}", default)


def read(path: Path) -> Header:
    """Read the header of a file and compare the file's length with it.

    Raises ModelError for a file that is no GGUF, is damaged in its header, or ends before its last tensor does.
    """
    try:
        with path.open("rb") as stream:
            header = parse(stream, str(path))
            size = stream.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from None
    if size < header.file_bytes:
        raise ModelError(
            f"{path}: has {size} bytes, but its header speaks of {header.file_bytes}: it was cut off. Fetch it again."
        )
    return header


def parse(stream: Source, name: str) -> Header:
    """Read a header from the beginning of `stream`; `name` is for messages. Raises ModelError."""
    reader = _Reader(stream, name)
    magic = stream.read(4)
    if magic != MAGIC:
        raise ModelError(f"{name}: is no GGUF file: it begins with {magic!r}. Give a .gguf file, or fetch it again.")
    version = reader.number("<I")
    if version not in _VERSIONS:
        hint = " (big-endian)" if version & 0xFFFF == 0 else ""
        raise ModelError(f"{name}: GGUF version {version}{hint} is not known here; versions 2 and 3 are.")
    tensors, pairs = reader.count("tensors"), reader.count("metadata entries")
    metadata: dict[str, Any] = {}
    for dummy in range(pairs):
        key = reader.text()
        metadata[key] = reader.value(reader.number("<I"))
    listed = tuple(reader.tensor() for dummy in range(tensors))
    alignment = int(metadata.get("general.alignment") or _ALIGNMENT)
    end = stream.tell()
    return Header(metadata, listed, end + -end % alignment)


class _Reader:
    """Takes values off a stream."""

    def __init__(self, stream: Source, name: str) -> None:
        self._stream = stream
        self._name = name

    def take(self, size: int) -> bytes:
        """Return exactly that many bytes."""
        data = self._stream.read(size)
        if len(data) != size:
            raise self._damaged("ends inside its header")
        return data

    def number(self, form: str) -> int:
        """Return one number."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def count(self, what: str) -> int:
        """Return a number of things that come."""
        value = self.number("<Q")
        if value > _MANY:
            raise self._damaged(f"claims {value} {what}")
        return value

    def text(self) -> str:
        """Return a string."""
        return self.take(self._length()).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:  # noqa: ANN401 - values have many types
        """Return one metadata value; None for an array nobody here needs."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < _DEPTH:
            return self._array(depth + 1)
        form = _FORMATS.get(kind)
        if form is None:
            raise self._damaged(f"has a value of the unknown type {kind}")
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def tensor(self) -> Tensor:
        """Return one entry of the list of tensors."""
        name, dimensions = self.text(), self.number("<I")
        if dimensions > _DIMENSIONS:
            raise self._damaged(f"says that the tensor {name} has {dimensions} dimensions")
        sizes = [self.number("<Q") for dummy in range(dimensions)]
        kind, offset = self.number("<I"), self.number("<Q")
        if kind not in TYPES:
            raise ModelError(
                f"{self._name}: the tensor {name} has the type {kind}, which is not known here. "
                "Use another quantisation of this model, such as Q4_K_M."
            )
        label, block, width = TYPES[kind]
        elements = 1
        for size in sizes:
            elements *= size
        # Rows are stored in whole blocks.
        row = sizes[0] if sizes else 1
        rows = elements // row if row else 0
        return Tensor(name, label, elements, offset, rows * (-(-row // block)) * width)

    def _array(self, depth: int) -> list[Any] | None:
        kind, length = self.number("<I"), self.count("elements of an array")
        if kind not in (_STRING, _ARRAY) and kind in _FORMATS:
            form = _FORMATS[kind]
            size = length * struct.calcsize(form)
            if length > _KEEP:
                self._skip(size)
                return None
            return list(struct.unpack(f"<{length}{form[1]}", self.take(size)))
        if kind == _STRING and length > _KEEP:
            for dummy in range(length):
                self._skip(self._length())
            return None
        return [self.value(kind, depth) for dummy in range(length)]

    def _length(self) -> int:
        length = self.number("<Q")
        if length > _LONG:
            raise self._damaged(f"has a string of {length} bytes")
        return length

    def _skip(self, size: int) -> None:
        # Read and not sought: a file that ends here must be noticed, and a buffered read costs nothing more.
        while size:
            piece = min(size, 1 << 20)
            self.take(piece)
            size -= piece

    def _damaged(self, what: str) -> ModelError:
        return ModelError(f"{self._name}: is damaged: it {what}. Fetch it again.")
