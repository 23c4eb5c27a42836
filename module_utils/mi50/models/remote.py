"""Read what decides a model's size before it is fetched: the headers of its files, through pieces of them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from ..fetch.errors import FetchError, mask
from . import gguf, hub, shape
from .errors import ModelError
from .wanted import File, Wanted

_PIECE = 4 << 20  # a vocabulary of a quarter million words fits into two of them
_MAX_HEADER = 256 << 20
_MAX_TENSOR_HEADER = 100 << 20  # what the safetensors format itself allows
_SPLIT = re.compile(r"(.+)-\d{5}-of-\d{5}\.gguf")
CONFIG = "config.json"


class Pieces:
    """A remote file, fetched piece by piece from its beginning as it is read."""

    def __init__(self, url: str, headers: hub.Headers, timeout: float) -> None:
        """Nothing is asked yet."""
        self._url, self._headers, self._timeout = url, headers, timeout
        self._have = b""
        self._place = 0
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """Return that many bytes, fewer at the end. Raises ModelError when a server sends no pieces."""
        while len(self._have) < self._place + size and not self._ended:
            self._more()
        data = self._have[self._place : self._place + size]
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place, counted from the beginning."""
        if whence:
            raise ModelError(f"{mask(self._url)}: its end is not known; places count from the beginning.")
        self._place = offset
        return offset

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def _more(self) -> None:
        begin = len(self._have)
        if begin >= _MAX_HEADER:
            raise ModelError(f"{mask(self._url)}: its header does not end within {_MAX_HEADER >> 20} MiB.")
        try:
            data, answer = hub.get(self._url, self._headers, self._timeout, (begin, begin + _PIECE - 1))
        except FetchError as error:
            raise ModelError(str(error)) from None
        if begin and not (answer.get("Content-Range") or "").startswith(f"bytes {begin}-"):
            raise ModelError(f"{mask(self._url)}: the server sends no pieces of files; whether it fits cannot be told.")
        self._have += data
        self._ended = len(data) < _PIECE


def model(wanted: Wanted, hubs: hub.Endpoints) -> shape.Model:
    """Return the layers and weights of a model that is complete (`hub.complete`) and not fetched. Raises ModelError."""
    parts = weights(wanted.files)
    if parts:
        headers = [gguf.parse(_open(wanted, file, hubs), file.path) for file in parts]
        return shape.of_gguf(headers[0], wanted.name, headers[1:])
    tensors = [file for file in wanted.files if file.path.endswith(".safetensors")]
    if not tensors or not any(file.path == CONFIG for file in wanted.files):
        raise ModelError(
            f"{wanted.name}: has neither a .gguf file nor .safetensors with a {CONFIG}: it cannot be judged."
        )
    config = _json(_open(wanted, File(CONFIG), hubs).read(_PIECE), f"{wanted.name}: {CONFIG}")
    sizes = [size for file in tensors for size in tensor_sizes(_open(wanted, file, hubs), file.path)]
    return shape.of_config(config, wanted.name, sizes)


def local(folder: Path, name: str) -> shape.Model:
    """Return the layers and weights of a model that lies in a folder, or is one file. Raises ModelError."""
    if folder.is_file():
        return shape.of_file(folder)
    found = [File(str(path.relative_to(folder))) for path in sorted(folder.rglob("*")) if path.is_file()]
    parts = weights(tuple(found))
    if parts:
        return shape.of_file(folder / parts[0].path)._replace(name=name)
    try:
        config = _json((folder / CONFIG).read_bytes(), str(folder / CONFIG))
        sizes: list[tuple[str, int]] = []
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as stream:
                sizes += tensor_sizes(stream, str(path))
    except OSError as error:
        raise ModelError(f"{folder}: is no model: {error.filename} cannot be read: {error.strerror}.") from None
    if not sizes:
        raise ModelError(f"{folder}: has no .gguf and no .safetensors file.")
    return shape.of_config(config, name, sizes)


def weights(files: tuple[File, ...]) -> list[File]:
    """Return the GGUF file of the language model itself, no image projector; all parts of a split one in order."""
    found = sorted(file for file in files if file.path.endswith(".gguf") and not _is_projector(file))
    if not found:
        return []
    split = _SPLIT.fullmatch(found[0].path)
    return [file for file in found if split and file.path.startswith(split.group(1))] or found[:1]


def projector_bytes(files: tuple[File, ...]) -> int:
    """Return the size of image projectors beside a GGUF model."""
    return sum(file.size or 0 for file in files if _is_projector(file))


def _is_projector(file: File) -> bool:
    return "mmproj" in file.path.lower().rsplit("/", 1)[-1]


def tensor_sizes(stream: gguf.Source, name: str) -> list[tuple[str, int]]:
    """Return name and bytes of each tensor of a .safetensors file. Raises ModelError."""
    head = stream.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else _MAX_TENSOR_HEADER + 1
    if length > _MAX_TENSOR_HEADER:
        raise ModelError(f"{name}: is no .safetensors file: it begins with {head!r}. Fetch it again.")
    listed = _json(stream.read(length), name)
    sizes = []
    for tensor, about in listed.items():
        if tensor != "__metadata__":
            try:
                begin, end = about["data_offsets"]
                sizes.append((tensor, int(end) - int(begin)))
            except (KeyError, TypeError, ValueError):
                raise ModelError(f"{name}: is damaged: its tensor {tensor} has no place. Fetch it again.") from None
    return sizes


def _open(wanted: Wanted, file: File, hubs: hub.Endpoints) -> Pieces:
    return Pieces(hub.address(wanted, file.path, hubs), hubs.headers(wanted.source), hubs.timeout)


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{name}: is damaged: it is no JSON object but {data[:40]!r}. Fetch it again.")
    return found
