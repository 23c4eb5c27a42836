"""Headers of GGUF files: real numbers are read right, and damage is named."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from mi50.models import gguf, shape
from mi50.models.errors import ModelError

from tests.unit.models import made_up


def test_header_of_a_real_shape(tmp_path: Path) -> None:
    path = made_up.write(tmp_path / "gemma.gguf", made_up.GEMMA, list(made_up.gemma_tensors()))
    header = gguf.read(path)
    assert header.architecture == "gemma3"
    assert header.get("attention.sliding_window") == 1024
    assert header.metadata["tokenizer.ggml.tokens"] is None  # long: not kept
    assert header.file_bytes <= path.stat().st_size < header.file_bytes + 32
    assert round(path.stat().st_size / 1e9, 1) == 17.2


def test_every_kind_of_value() -> None:
    metadata = {"a": True, "b": -0.5, "c": "text", "d": [1, 2, 3], "e": ["x", "yz"], "f": [True, False], "g": 7}
    head, _data = made_up.header(metadata, [])
    assert gguf.parse(io.BytesIO(head), "x").metadata == metadata


def test_rows_are_whole_blocks() -> None:
    head, _data = made_up.header({}, [("t", (768, 2), "Q4_K"), ("u", (100, 1), "Q8_0")])
    first, second = gguf.parse(io.BytesIO(head), "x").tensors
    assert (first.bytes, first.elements) == (2 * 3 * 144, 1536)
    assert second.bytes == 4 * 34


def damaged(change: str) -> bytes:
    metadata, tensors = made_up.small()
    head, data = made_up.header(metadata, tensors)
    whole = head + bytes(data)
    count = len(made_up._string("x")) - 1
    changes = {
        "an error page": b"<!DOCTYPE html><html>not here</html>",
        "empty": b"",
        "version": whole[:4] + struct.pack("<I", 9) + whole[8:],
        "big-endian": whole[:4] + struct.pack(">I", 3) + whole[8:],
        "no end of tensors": whole[:8] + struct.pack("<Q", 1 << 60) + whole[16:],
        "header cut": whole[:200],
        "data cut": whole[:-1],
        "long string": whole[:24] + struct.pack("<Q", 1 << 40) + whole[24 + count :],
        "value of no type": head[:24] + made_up._string("k") + struct.pack("<I", 77) + bytes(400),
        "arrays in arrays": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + made_up._string("k") + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * 50,
    }  # fmt: skip
    return changes[change]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("an error page", "is no GGUF file: it begins with b'<!DO'"),
        ("empty", "is no GGUF file"),
        ("version", "GGUF version 9 is not known"),
        ("big-endian", "(big-endian)"),
        ("no end of tensors", "claims 1152921504606846976 tensors"),
        ("header cut", "ends inside its header"),
        ("data cut", "it was cut off"),
        ("long string", "has a string of 1099511627776 bytes"),
        ("value of no type", "unknown type 77"),
        ("arrays in arrays", "unknown type 9"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: str, words: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(damaged(change))
    with pytest.raises(ModelError) as caught:
        gguf.read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_quantisation_names_the_tensor() -> None:
    head, _data = made_up.header({}, [("blk.0.x", (64,), "F16")])
    at = head.index(b"blk.0.x") + 7 + 4 + 8
    with pytest.raises(ModelError, match=r"blk\.0\.x has the type 99"):
        gguf.parse(io.BytesIO(head[:at] + struct.pack("<I", 99) + head[at + 4 :]), "x")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        gguf.read(tmp_path / "none.gguf")


def test_projector_is_no_language_model(tmp_path: Path) -> None:
    metadata = {"general.architecture": "clip", "general.type": "mmproj"}
    path = made_up.write(tmp_path / "mmproj.gguf", metadata, [("v.blk.0.x", (32,), "F16")])
    with pytest.raises(ModelError, match="no language model but 'mmproj'"):
        shape.of_file(path)


def test_split_file_is_one_model(tmp_path: Path) -> None:
    metadata, tensors = made_up.small(layers=4)
    whole = shape.of_file(made_up.write(tmp_path / "whole.gguf", metadata, tensors)).weights
    for number, part in ((1, tensors[:2]), (2, tensors[2:])):
        given = {**metadata, "split.count": 2} if number == 1 else {"general.architecture": "llama", "split.count": 2}
        made_up.write(tmp_path / f"m-{number:05d}-of-00002.gguf", given, part)
    assert shape.of_file(tmp_path / "m-00001-of-00002.gguf").weights == whole
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(ModelError, match=r"m-00002-of-00002\.gguf: cannot be read"):
        shape.of_file(tmp_path / "m-00001-of-00002.gguf")
