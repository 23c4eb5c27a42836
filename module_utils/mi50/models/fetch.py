"""Bring one model into its place in the store, file by file, by the cheapest way there is; whole and proven, or not."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..fetch import record as records
from ..fetch.download import Wanted as Transfer
from ..fetch.download import download
from ..fetch.errors import FetchError
from . import gguf, hub, remote, store
from .errors import ModelError
from .progress import Progress
from .wanted import File, Wanted

_STALLED = 3  # interruptions in a row that bring nothing new, after which a run gives up
_BLOB_LIMIT = 64 << 20
Known = dict[tuple[str, int], Path]


def bring(model: Wanted, identity: str, root: Path, hubs: hub.Endpoints, known: Known, progress: Progress) -> int:
    """Have a model, of which all files are known, in the store `root`; return the bytes that crossed the network.

    `known`: a file for each digest and size, to be linked instead of fetched. Raises ModelError, FetchError, OSError.
    """
    received = 0
    folder, place = root / store.INCOMING / model.name, root / model.name
    ready = store.load(folder.parent, model.name)
    if ready is None or ready.identity != identity or store.wrong(folder.parent, ready):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        stored = []
        for file in model.files:
            target = folder / file.path
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            progress.file(model.name, file.path, file.size)
            came, digest = _file(model, file, target, hubs, known, progress)
            received += came
            status = target.stat()
            stored.append(store.Stored(file.path, digest, status.st_size, status.st_mtime_ns))
            progress.finished(status.st_size)
        _check_readable(folder, model)
        _only(folder, {file.path for file in stored})
        origin = {"source": model.source, "repo": model.repo, "revision": model.revision, "place": model.place}
        said = {key: value for key, value in origin.items() if value}
        ready = store.Entry(model.name, identity, said, tuple(stored))
        store.save(folder, ready)
    _swap(folder, place, root)
    for one in ready.files:
        known[one.sha256, one.size] = place / one.path
    return received


def _file(
    model: Wanted,
    file: File,
    target: Path,
    hubs: hub.Endpoints,
    known: Mapping[tuple[str, int], Path],
    progress: Progress,
) -> tuple[int, str]:
    """Have one file, by the cheapest way; return the bytes that crossed the network, and its sha256."""
    url = "" if model.source == "path" else hub.address(model, file.path, hubs)
    there, status = records.load(target), records.status(target)
    fresh = there and status and (there.size, there.mtime_ns) == (status.st_size, status.st_mtime_ns)
    if there and fresh and (there.sha256 == file.sha256 or (not file.sha256 and url and there.url == url)):
        return 0, there.sha256
    twin = known.get((file.sha256, file.size or 0)) if file.sha256 else None
    if twin and records.sha256_of(twin) == file.sha256:  # it was, once; a flipped bit must not spread
        _link(twin, target)
        return 0, file.sha256
    if model.source == "path":
        return 0, _from_path(Path(model.place) / file.path, file, target)
    want = Transfer(url, target, file.sha256 or None, file.size, headers=hubs.headers(model.source))
    try:
        got = download(want, hubs.timeout, _STALLED, watch=progress.bytes, patient=True)
    except FetchError as error:
        if re.search(r"\(HTTP 40[13] ", str(error)):
            raise FetchError(f"{error} On a hub: {hub.GATED}") from None
        raise
    if file.blob and not file.sha256:
        _check_blob(target, file, url)
    records.save(target, got.record)
    return got.received, got.record.sha256


def _from_path(source: Path, file: File, target: Path) -> str:
    """Link a file of this node into the store, or copy it where it cannot be linked or others may not read it."""
    readable = source.stat().st_mode & 0o004
    if readable and same_disk(source, target.parent):
        _link(source.resolve(), target)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o644)
    digest = records.sha256_of(target)
    if file.sha256 and digest != file.sha256:
        target.unlink()
        raise ModelError(f"{source}: its sha256 is {digest}, expected {file.sha256}. Nothing was taken over.")
    return digest


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(source, target)
        target.chmod(0o644)


def _check_blob(target: Path, file: File, url: str) -> None:
    """Compare a small file with the name git gives its content. Raises FetchError; the file is not kept."""
    if target.stat().st_size > _BLOB_LIMIT:
        return
    data = target.read_bytes()
    # Git's own name for content, no protection of ours: S324 warns of weak digests.
    found = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324
    if found != file.blob:
        target.unlink()
        raise FetchError(f"{url}: its content is not what its hub lists (git blob {found}, expected {file.blob}).")


def _check_readable(folder: Path, model: Wanted) -> None:
    """Read the headers of what came: a damaged file is refused before an engine meets it. Raises ModelError."""
    for file in model.files:
        path = folder / file.path
        try:
            if path.suffix == ".gguf":
                gguf.read(path)
            elif path.suffix == ".safetensors":
                with path.open("rb") as stream:
                    sizes = remote.tensor_sizes(stream, str(path))
                    need = stream.tell() + sum(size for dummy, size in sizes)
                if path.stat().st_size != need:
                    raise ModelError(f"{path}: has {path.stat().st_size} bytes, its header speaks of {need}: damaged.")
        except ModelError:
            records.forget(path)
            raise


def _only(folder: Path, wanted: set[str]) -> None:
    """Remove what an earlier download left in the folder, and the records of the present one."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.rmdir()
        elif str(path.relative_to(folder)) not in wanted:
            path.unlink()


def _swap(folder: Path, place: Path, root: Path) -> None:
    """Put a whole model in its place; what was there is gone afterwards."""
    grave = root / f".removed-{place.name}"
    shutil.rmtree(grave, ignore_errors=True)
    if place.exists() or place.is_symlink():
        place.rename(grave)
    folder.rename(place)
    if grave.is_dir() and not grave.is_symlink():
        shutil.rmtree(grave)
    elif grave.is_symlink() or grave.exists():
        grave.unlink()


def partial(target: Path) -> Path:
    """Return where the bytes of a file lie while it is on its way (fetch.partial)."""
    return target.with_name(f".{target.name}.part")


def same_disk(one: Path, other: Path) -> bool:
    """Tell whether two paths are on one file system."""
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False
