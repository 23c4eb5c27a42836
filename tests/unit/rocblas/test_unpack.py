"""Streams that are larger than any buffer on the way, whole and damaged, through every decompressor."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mi50.rocblas import codeobject, feed, pipes, unpack
from mi50.rocblas.errors import RocblasError, SourceRejected

from tests.unit.rocblas import synthetic
from tests.unit.rocblas.conftest import Runner

# More than a pipe of 1 MiB, its reader's buffer and four queued pieces hold together, and it does not compress.
LARGE = bytes(range(256)) * 64 * 1024 + synthetic.hashlib.sha512(b"x").digest() * 65536
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zstd": synthetic.zstd,
    "xz": lambda data: lzma.compress(data, preset=0),
    "gzip": lambda data: gzip.compress(data, 1),
}


def walk(packed: bytes) -> dict[str, int]:
    """Names and sizes; a deadlock ends in a failure, not in a test run that never ends."""
    found: dict[str, int] = {}
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            source = io.BytesIO(packed)
            taken = source.read(600)
            with unpack.opened(source, taken, (0, len(packed)), "x") as work:
                found.update({member.name: member.size for member in work.stream})
                work.finish()
                work.feed.finish()
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    if trouble:
        raise trouble[0]
    return found


@pytest.mark.usefixtures("either_zstd")
@pytest.mark.parametrize("kind", PACK)
def test_a_large_stream(kind: str) -> None:
    members = {"one": LARGE, "two": b"2", "three": LARGE[:-1]}
    assert walk(PACK[kind](synthetic.tar_bytes(members))) == {name: len(data) for name, data in members.items()}


@pytest.mark.usefixtures("either_zstd")
@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("damage", ["first header", "cut", "lone zero block", "cut within the end"])
def test_damage_with_much_behind_it(kind: str, damage: str) -> None:
    """The reader refuses while the decompressor still has megabytes to write: nobody may wait for the other."""
    tar = bytearray(synthetic.tar_bytes({"one": b"1", "two": LARGE, "three": LARGE}))
    if damage == "first header":
        tar[3] ^= 1
    elif damage == "lone zero block":
        tar[512:1024] = bytes(512)
        tar[0:512] = bytes(512)
        tar[512] = 1
    packed = PACK[kind](bytes(tar))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "cut within the end":
        packed = packed[: -2 if kind != "plain" else -10_239]
    with pytest.raises(SourceRejected, match="damaged"):
        walk(packed)


def test_several_frames_are_one_stream() -> None:
    tar = synthetic.tar_bytes({"one": LARGE})
    half = 1024 * 1024  # the first frame fills the reader's buffer to the last byte
    assert walk(synthetic.zstd(tar[:half]) + synthetic.zstd(tar[half:])) == {"one": len(LARGE)}


def test_a_python_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "zstd", None)
    assert walk(synthetic.zstd(synthetic.tar_bytes({"one": b"1"}))) == {"one": 1}


def test_an_unknown_compression_is_refused(patch: Runner, package: Path) -> None:
    package.write_bytes(bz2.compress(b"x"))
    with pytest.raises(RocblasError, match="not a package"):
        patch()


def test_a_reader_that_gives_up_lets_the_writer_go() -> None:
    queue = feed.Queue()
    for dummy in range(feed.DEPTH):
        assert queue.put(b"x")
    threading.Thread(target=lambda: (time.sleep(0.05), queue.give_up()), daemon=True).start()
    assert not queue.put(b"x")


@pytest.mark.usefixtures("either_zstd")
def test_the_head_of_a_cut_stream() -> None:
    packed = synthetic.zstd(LARGE)
    assert unpack.head_of(packed, codeobject.HEAD_BYTES, "x") == LARGE[: codeobject.HEAD_BYTES]
    assert LARGE.startswith(unpack.head_of(packed[: len(packed) // 2], len(LARGE), "x"))
    assert unpack.head_of(b"garbage", 100, "x") == b""


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_xz_gets_as_many_threads_as_were_asked_for(
    threads: int, patch: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    start = pipes.Decompressor

    def watch(argv: list[str], label: str, source: int) -> pipes.Decompressor:
        asked.append(argv[1:])
        return start(argv, label, source)

    monkeypatch.setattr(pipes, "Decompressor", watch)
    package = tmp_path / "kernels.tar.xz"
    files = {f"rocblas/library/{name}": data for name, data in synthetic.kernels("-xnack-").items()}
    package.write_bytes(PACK["xz"](synthetic.tar_bytes(files)))
    assert patch(src=str(package), version=None, threads=threads)["changed"]
    assert asked == [["-dcq", f"-T{threads}"]]
