"""Images out of a registry with tokens, over real HTTP, into the layout that docker-registry reads."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mi50.mirror import fill, image
from mi50.mirror.errors import MirrorError
from mi50.mirror.plan import Item
from mi50.mirror.store import Store

LAYER, CONFIG = b"layer" * 1000, b'{"os": "linux"}'


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": image.MANIFESTS[0],
        "config": {"digest": digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest(LAYER), "size": len(LAYER)}],
    }
).encode()
INDEX = json.dumps(
    {
        "manifests": [
            {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": digest(MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}},
        ]
    }
).encode()


class Registry(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.log: list[str] = []
        self.manifests = {"v1": (MANIFEST, image.MANIFESTS[0]), "many": (INDEX, image.LISTS[1])}
        self.manifests.update({digest(data): (data, kind) for data, kind in list(self.manifests.values())})
        self.blobs = {digest(data): data for data in (LAYER, CONFIG)}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def log_message(self, *_args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.server.log.append(self.path)
        kind, name = self.path.split("/")[-2:]
        if self.path.startswith("/token"):
            return self.answer(json.dumps({"token": "t0k"}).encode(), "application/json")
        if self.headers.get("Authorization") != "Bearer t0k":
            self.send_response(401)
            self.send_header(
                "WWW-Authenticate", f'Bearer realm="http://{self.server.host}/token",service="s",scope="r"'
            )
            self.end_headers()
            return None
        found = self.server.manifests.get(name) if kind == "manifests" else (self.server.blobs.get(name, b""), "x/y")
        return self.answer(*found) if found else self.send_error(404)

    def answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def item(registry: Registry, version: str = "v1", wanted: str | None = None) -> Item:
    what = {"path": "owner/name", "version": version, "digest": wanted}
    return Item("an-image", "image", what, {"url": f"{registry.host}/owner/name", "plain": [registry.host]})


def blob(store: Store, name: str) -> bytes:
    value = name.partition(":")[2]
    return (store.registry / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data").read_bytes()


@pytest.mark.parametrize(("version", "top"), [("v1", MANIFEST), ("many", INDEX)])
def test_an_image_is_laid_out_as_docker_registry_has_it(
    registry: Registry, tmp_path: Path, version: str, top: bytes
) -> None:
    store = Store(tmp_path)
    wanted = item(registry, version)
    done = fill.fill(store, [wanted], ["an-image"])
    assert done["values"]["an-image"]["digest"] == digest(top)
    assert blob(store, digest(LAYER)) == LAYER and blob(store, digest(top)) == top
    repository = store.registry / "docker/registry/v2/repositories/owner/name"
    assert (repository / "_manifests/tags" / version / "current/link").read_text() == digest(top)
    revisions = {path.parent.name for path in (repository / "_manifests/revisions").rglob("link")}
    assert revisions == {digest(data).partition(":")[2] for data in {top, MANIFEST}}
    layers = {path.parent.name for path in (repository / "_layers").rglob("link")}
    assert layers == {digest(data).partition(":")[2] for data in (LAYER, CONFIG)}
    assert fill.lacking(Store(tmp_path), [wanted]) == []
    asked = len([path for path in registry.log if "/blobs/" in path])
    fill.fill(Store(tmp_path), [wanted], ["an-image"])
    assert len([path for path in registry.log if "/blobs/" in path]) == asked, "layers were fetched twice"


def test_another_digest_is_refused_and_nothing_kept(registry: Registry, tmp_path: Path) -> None:
    registry.manifests[digest(INDEX)] = (MANIFEST, image.MANIFESTS[0])
    with pytest.raises(MirrorError, match=f"gives {digest(MANIFEST)}, expected {digest(INDEX)}; nothing was kept"):
        fill.fill(Store(tmp_path), [item(registry, wanted=digest(INDEX))], ["an-image"])
    assert not (tmp_path / "registry").exists()


def test_a_damaged_layer_names_no_image(registry: Registry, tmp_path: Path) -> None:
    registry.blobs[digest(LAYER)] = LAYER[:-1] + b"X"
    with pytest.raises(MirrorError, match=r"an-image: sha256 of .*nothing was kept"):
        fill.fill(Store(tmp_path), [item(registry)], ["an-image"])
    assert not list(tmp_path.rglob("tags")) and not list(tmp_path.rglob("revisions"))


def test_docker_hub_is_asked_where_its_api_is() -> None:
    assert image.Registry("docker.io", "a/b").base == "https://registry-1.docker.io/v2/a/b"
    assert image.Registry("h.example/proxy", "a/b").base == "https://h.example/v2/proxy/a/b"
