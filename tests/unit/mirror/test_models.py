"""Models in a mirror: a node that asks it hears what the hub would say, and gets the same bytes."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.mirror import models
from mi50.mirror.errors import MirrorError
from mi50.mirror.plan import Item
from mi50.mirror.store import Store
from mi50.models.hub import Endpoints, address, complete
from mi50.models.hub import get as hub_get
from mi50.models.wanted import parse

from tests.unit.models.conftest import COMMIT, REPO, Hub, serve

WEIGHTS = {"a-Q4.gguf": b"a" * 3000, "b-Q8.gguf": b"b" * 4000}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as server:
        server.files = {**WEIGHTS, "config.json": b"{}"}
        yield server
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def mirrored(store: Store) -> Iterator[str]:
    """The mirror's web server: plain files, questions behind the path ignored, as its nginx does."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(store.www))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def item(upstream: Hub, name: str, **model: Any) -> Item:
    entry = {"name": name, "repo": REPO, "revision": COMMIT, **model}
    return Item(f"model-{name}", "model", {"model": entry}, {"huggingface": upstream.url, "modelscope": upstream.url})


def fetched(url: str) -> bytes:
    """Over HTTP, as a node does it."""
    return hub_get(url, (), 5.0)[0]


def put(store: Store, one: Item) -> None:
    done = models.fill(store, one)
    store.put(one.name, one.kind, one.what, done.values, done.paths)


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_a_node_hears_and_gets_what_the_hub_has(
    upstream: Hub, store: Store, mirrored: str, source: str, revision: str
) -> None:
    given = {"source": source, "revision": revision}
    put(store, item(upstream, "m", **given, include=["*.gguf", "*.json"]))
    asked = parse([{"name": "m", "repo": REPO, **given, "include": ["*.gguf", "*.json"]}])[0]
    hubs = Endpoints({source: f"{mirrored}/{source}"}, timeout=5)
    found = complete(asked, hubs)
    assert [file.path for file in found.files] == ["a-Q4.gguf", "b-Q8.gguf", "config.json"]
    for file in found.files:
        data = fetched(address(found, file.path, hubs))
        assert data == upstream.files[file.path] and hashlib.sha256(data).hexdigest() == file.sha256
    assert store.whole("model-m")


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_two_models_of_one_repository_are_both_listed(upstream: Hub, store: Store, mirrored: str, source: str) -> None:
    for name, path in (("small", "a-Q4.gguf"), ("large", "b-Q8.gguf")):
        put(store, item(upstream, name, source=source, files=[{"path": path}]))
    hubs = Endpoints({source: f"{mirrored}/{source}"}, timeout=5)
    for path, data in WEIGHTS.items():
        asked = parse([{"name": "m", "repo": REPO, "source": source, "revision": COMMIT, "files": [{"path": path}]}])
        assert complete(asked[0], hubs).files[0].sha256 == hashlib.sha256(data).hexdigest()
    assert store.whole("model-small") and store.whole("model-large")


def test_what_is_there_is_not_fetched_again(upstream: Hub, store: Store) -> None:
    put(store, item(upstream, "m", include=["*.gguf"]))
    before = len(upstream.bodies())
    assert models.fill(store, item(upstream, "m", include=["*.gguf"])).received == 0
    assert len(upstream.bodies()) == before


def test_weights_that_are_not_what_the_hub_lists_are_refused(upstream: Hub, store: Store) -> None:
    upstream.lies = {"a-Q4.gguf": b"x" * 3000}
    with pytest.raises(MirrorError, match=r"a-Q4\.gguf"):
        models.fill(store, item(upstream, "m", files=[{"path": "a-Q4.gguf"}]))
    assert not list(store.www.rglob("a-Q4.gguf"))
    assert json.loads(json.dumps(store.items)) == {}
