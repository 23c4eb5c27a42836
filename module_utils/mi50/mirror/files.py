"""Single files, and AMD's key: fetched, proven, with their detached signatures."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from ..apt import keyring
from ..fetch.download import Wanted, download
from ..fetch.errors import FetchError
from ..rocblas.errors import RocblasError
from ..rocblas.signature import Verifier
from .errors import MirrorError
from .plan import Item
from .store import Store


class Done(NamedTuple):
    """What became of an item: its files, what it turned out to be (for the lock), bytes that crossed the network."""

    paths: list[Path]
    values: dict[str, Any]
    received: int


def get(store: Store, url: str, path: Path, sha256: str = "", size: int | None = None) -> int:
    """Have one file; return the bytes received. Raises MirrorError."""
    if store.has(path, sha256):
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return download(Wanted(url, path, sha256 or None, size), patient=True).received
    except FetchError as error:
        raise MirrorError(str(error)) from None
    except OSError as error:
        raise MirrorError(f"{path}: cannot be written: {error.strerror}.") from None


def key(store: Store, item: Item) -> Done:
    """Fetch AMD's key and refuse another one."""
    path = store.www / item.what["path"]
    received = get(store, item.source["url"], path)
    try:
        keys = keyring.choose(path.read_bytes(), [item.what["fingerprint"]], item.source["url"])
    except keyring.KeyringError as error:
        path.unlink()
        raise MirrorError(str(error)) from None
    if any(one.expired(time.time()) for one in keys):
        path.unlink()
        raise MirrorError(
            f"{item.source['url']}: the key has expired; the vendor extends it under the same fingerprint."
        )
    return Done([path], {}, received)


def file(store: Store, item: Item) -> Done:
    """Fetch one file and its signature."""
    what, path = item.what, store.www / item.what["path"]
    paths, received = [path], get(store, item.source["url"], path, what.get("sha256") or "", what.get("size"))
    if what.get("signature"):
        signature = store.www / what["signature"]
        received += get(store, item.source["signature"], signature)
        paths.append(signature)
        if what["keyring"] and Path(what["keyring"]).is_file():
            _verify(path, signature, what["keyring"])
    return Done(paths, {}, received)


def _verify(path: Path, signature: Path, keys: str) -> None:
    """Refuse a file that no key of the keyring has signed, by the rules of the role that installs it."""
    try:
        verifier = Verifier(str(signature), keys)
        try:
            with path.open("rb") as stream, os.fdopen(verifier.stdin, "wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
            verifier.finish()
        finally:
            verifier.close()
    except RocblasError as error:
        path.unlink()
        signature.unlink()
        raise MirrorError(f"{path.name}: {error} Nothing of it was kept.") from None
