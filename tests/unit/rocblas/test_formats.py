"""The readers: MessagePack, code objects, tar, metadata."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib

import msgpack as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mi50.rocblas import codeobject, metadata, msgpack, names
from mi50.rocblas.collect import ASSEMBLY_KERNEL, SOURCE_KERNEL, _Needs
from mi50.rocblas.errors import RocblasError
from mi50.rocblas.pipes import PipeReader
from mi50.rocblas.tarwalk import TarStream

from tests.unit.rocblas import synthetic

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20)
)


@given(VALUES)
def test_msgpack_reads_what_the_reference_writes(value: object) -> None:
    assert msgpack.loads(reference.packb(value)) == value


@pytest.mark.parametrize("size", [15, 16, 31, 32, 255, 256, 65535, 65536])
def test_msgpack_at_the_borders_of_its_length_fields(size: int) -> None:
    for value in ("x" * size, b"x" * size, list(range(size)), dict.fromkeys(range(size)), size, -size):
        assert msgpack.loads(reference.packb(value)) == value


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_msgpack_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        found = msgpack.loads(data)
    except msgpack.MsgpackError:
        return
    # repr: NaN is not equal to itself
    assert repr(reference.unpackb(data, strict_map_key=False, unicode_errors="surrogateescape")) == repr(found)


@pytest.mark.parametrize(
    "data", [b"", b"\x91" * 100, b"\xdd\xff\xff\xff\xff", b"\xc1", b"\xd4\x01\x02", b"\x01\x02", b"\x81\x90\x01"]
)
def test_msgpack_refuses(data: bytes) -> None:
    with pytest.raises(msgpack.MsgpackError):
        msgpack.loads(data)


def ccob(plain: bytes, version: int = 2) -> bytes:
    packed = zlib.compress(plain)
    sizes = {
        1: struct.pack("<IQ", len(plain), 0),
        2: struct.pack("<IIQ", 0, len(plain), 0),
        3: struct.pack("<QQQ", 0, len(plain), 0),
    }
    return b"CCOB" + struct.pack("<HH", version, 0) + sizes[version] + packed


@pytest.mark.parametrize(
    "data",
    [
        synthetic.code_object(),
        synthetic.bundle("gfx906"),
        synthetic.bundle("gfx906:xnack-"),
        synthetic.bundle("gfx908", "gfx906:sramecc+:xnack-"),
        *[ccob(synthetic.bundle("gfx906:xnack-"), version) for version in (1, 2, 3)],
        b"CCOB" + struct.pack("<HHIIQ", 2, 1, 0, 0, 0) + synthetic.zstd(synthetic.bundle("gfx906")),
    ],
)
def test_code_for_gfx906(data: bytes) -> None:
    codeobject.check("x.co", data[: codeobject.HEAD_BYTES], len(data), "gfx906")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (synthetic.code_object(0x4C), "gfx942"),
        (synthetic.code_object(0x7F), "machine 0x7f"),
        (synthetic.bundle("gfx908", "gfx90a:xnack-"), "gfx908, gfx90a:xnack-, not for gfx906"),
        (synthetic.bundle(), "no GPU"),
        (synthetic.bundle("gfx906", code=synthetic.code_object(synthetic.GFX908)), "entry for gfx906 holds .* gfx908"),
        (synthetic.bundle("gfx906")[:40], "cut off"),
        (synthetic.bundle("gfx906")[:1025], "truncated"),
        (b"\x7fELF" + bytes(60), "not an AMD GPU code object"),
        (synthetic.code_object()[:200], "truncated"),
        (b"", "starts with nothing"),
        (ccob(synthetic.bundle("gfx908")), "gfx908"),
        (b"CCOB\x09\x00\x00\x00", "unknown version"),
        (ccob(b"x")[:-3], "cannot be read"),
    ],
)
def test_code_for_something_else(data: bytes, words: str) -> None:
    with pytest.raises(RocblasError, match=words):
        codeobject.check("x.co", data, len(data), "gfx906")


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x7fELF", b"CCOB", b"__CLANG_OFFLOAD_BUNDLE__"]))
def test_code_objects_raise_nothing_else(data: bytes, head: bytes) -> None:
    for check in (lambda d: codeobject.check("x", d, len(d), "gfx906"), codeobject.symbols):
        try:
            check(head + data)
        except RocblasError:
            continue


@pytest.mark.parametrize(
    ("name", "is_kernel"),
    [
        ("Kernels.so-000-gfx906-xnack-.hsaco", True),
        ("Kernels.so-000-gfx906.hsaco", True),
        ("TensileLibrary_lazy_gfx906.dat", True),
        ("TensileLibrary_x_gfx9060.co", False),
        ("TensileLibrary_x_gfx90.co", False),
        ("TensileLibrary_x_fallback.dat", False),
        ("gfx906.txt", False),
        ("x_gfx906.co.gz", False),
    ],
)
def test_names(name: str, is_kernel: bool) -> None:
    assert bool(names.kernel_pattern("gfx906").fullmatch(name)) is is_kernel


def listed(data: bytes) -> list[tuple[str, bytes]]:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    reader = PipeReader(read, "x.tar")
    stream = TarStream(reader, "x.tar")
    try:
        return [(member.name, stream.body()) for member in stream]
    finally:
        reader.close()
        os.close(read)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_dialects(form: int) -> None:
    stream = io.BytesIO()
    wanted = [("short", b"a"), ("d" * 90 + "/" + "n" * 90, b"b" * 513), ("last", b"")]
    if form != tarfile.USTAR_FORMAT:
        wanted.append(("l" * 300, b"c" * 512))
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, data in wanted:
            synthetic.add(tar, name, data)
    assert listed(stream.getvalue()) == wanted


@given(st.integers(0, 2047), st.integers(0, 255))
def test_a_changed_tar_raises_nothing_but_our_error(at: int, value: int) -> None:
    data = bytearray(synthetic.tar_bytes({"one": b"1", "two": b"2"}))
    data[at] = value
    try:
        listed(bytes(data))
    except RocblasError as error:
        assert "x.tar" in str(error)


def test_a_header_with_a_wrong_checksum() -> None:
    data = bytearray(synthetic.tar_bytes({"one": b"1"}))
    data[140] = ord("7") if data[140] != ord("7") else ord("6")  # another time, just as valid
    with pytest.raises(RocblasError, match="wrong checksum"):
        listed(bytes(data))


def test_mtree_inherits_and_unescapes() -> None:
    text = "#mtree\n/set type=file mode=644\n./a\\040b size=3 sha256digest=00ff\n./d type=dir\n./l type=link link=x\n"
    found = metadata.parse_mtree(gzip.compress(text.encode()), "x")
    assert found == {"a b": metadata.Digest("sha256", "00ff", 3)}


@pytest.mark.parametrize("data", [b"", b"plain", b"\x1f\x8b\x08\x00"])
def test_damaged_mtree(data: bytes) -> None:
    with pytest.raises(RocblasError, match="MTREE"):
        metadata.parse_mtree(data, "x")


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("6.4.3", "6.4.3-3", True),
        ("6.4.3-3", "6.4.3-3", True),
        ("6.4.3-2", "6.4.3-3", False),
        ("6.4.3", "1:6.4.3-3", True),
        ("6.4", "6.4.3-3", False),
        ("6.4.3", "6.4.30-1", False),
    ],
)
def test_versions(expected: str, found: str, same: bool) -> None:
    assert metadata.version_matches(expected, found) is same


def test_symbols() -> None:
    assert not codeobject.symbols(b"")
    assert hash(b"Cijk_x") in codeobject.symbols(synthetic.code_object(kernels=("Cijk_x",)))


def test_what_a_catalog_needs_is_found_across_pieces() -> None:
    data = bytes(100) + SOURCE_KERNEL + bytes(7) + ASSEMBLY_KERNEL + bytes(3)
    for size in range(1, len(data) + 1):
        needs = _Needs()
        for at in range(0, len(data), size):
            needs.look(memoryview(data)[at : at + size])
        assert needs.found == {".hsaco", ".co"}, size
