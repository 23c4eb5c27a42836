"""One image by its digest, from a registry straight into the storage of docker-registry.

The protocol: https://distribution.github.io/distribution/spec/api/; the layout of the storage is that of its
filesystem driver. Only linux/amd64 is taken out of an image for many platforms.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..fetch.download import Wanted, download, proxy_for
from ..fetch.errors import FetchError, explain
from .errors import MirrorError
from .files import Done
from .plan import Item
from .store import Store, write

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
LISTS = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_UNAUTHORISED = 401
_LIMIT = 16 << 20
_TIMEOUT = 60.0


class Registry:
    """One repository of a registry, with the token that its blobs are handed out for."""

    def __init__(self, host: str, repository: str, plain: Sequence[str] = ()) -> None:
        """`plain`: registries that speak http."""
        # Docker Hub's API is not at the name that images carry.
        name = "registry-1.docker.io" if host == "docker.io" else host
        scheme = "http" if host in plain else "https"
        place, slash, prefix = name.partition("/")
        self.base = f"{scheme}://{place}/v2/{prefix + slash}{repository}"
        self._token = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a request for a blob has to carry."""
        return (("Authorization", f"Bearer {self._token}"),) if self._token else ()

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """Return a manifest and its media type. Raises MirrorError."""
        url = f"{self.base}/manifests/{reference}"
        for attempt in (1, 2):
            request = urllib.request.Request(url, headers={"Accept": ", ".join((*MANIFESTS, *LISTS))})  # noqa: S310 - built above
            for name, value in self.headers():
                request.add_unredirected_header(name, value)
            try:
                with urllib.request.build_opener().open(request, timeout=_TIMEOUT) as answer:
                    return answer.read(_LIMIT), str(answer.headers.get("Content-Type", "")).partition(";")[0]
            except urllib.error.HTTPError as error:
                error.close()
                challenge = error.headers.get("WWW-Authenticate", "")
                if error.code == _UNAUTHORISED and attempt == 1 and challenge.lower().startswith("bearer "):
                    self._login(challenge)
                    continue
                raise MirrorError(str(explain(url, error, proxy_for(url)))) from None
            except (OSError, ValueError) as error:
                raise MirrorError(str(explain(url, error, proxy_for(url)))) from None
        raise MirrorError(f"{url}: the registry refuses an anonymous reader.")

    def _login(self, challenge: str) -> None:
        given = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if urlsplit(given.get("realm", "")).scheme not in ("http", "https"):
            raise MirrorError(f"{self.base}: the registry asks for a login that is none: {challenge!r}.")
        url = f"{given['realm']}?{urlencode({name: given[name] for name in ('service', 'scope') if name in given})}"
        try:
            with urllib.request.build_opener().open(url, timeout=_TIMEOUT) as answer:
                found = json.loads(answer.read(_LIMIT))
        except (OSError, ValueError) as error:
            raise MirrorError(str(explain(url, error, proxy_for(url)))) from None
        self._token = str(found.get("token") or found.get("access_token") or "")


def fill(store: Store, item: Item) -> Done:
    """Have an image, all its layers proven. Raises MirrorError."""
    what, host = item.what, str(item.source["url"])[: -len(item.what["path"]) - 1]
    registry = Registry(host, what["path"], item.source.get("plain", ()))
    place = _Place(store, what["path"])
    data, kind = registry.manifest(what["digest"] or what["version"])
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if what["digest"] and digest != what["digest"]:
        raise MirrorError(
            f"{item.name}: {item.source['url']} gives {digest}, expected {what['digest']}; nothing was kept."
        )
    manifests, received = [(digest, data)], len(data)
    if kind in LISTS:
        inner = next((one["digest"] for one in json.loads(data)["manifests"] if _amd64(one)), "")
        if not inner:
            raise MirrorError(f"{item.name}: {item.source['url']} has no image for linux/amd64.")
        data, kind = registry.manifest(inner)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != inner:
            raise MirrorError(f"{item.name}: the manifest {inner} came as another; nothing was kept.")
        received += len(data)
        manifests.append((inner, data))
    if kind not in MANIFESTS:
        raise MirrorError(f"{item.name}: {item.source['url']} is of type {kind!r}, which no current engine makes.")
    manifest = json.loads(data)
    for blob in [manifest["config"], *manifest["layers"]]:
        received += _blob(item, registry, place, blob)
    # Last, and the inner one first: an image is never named before all of it is there.
    for name, text in reversed(manifests):
        place.keep(name, text)
    place.tag(what["version"], digest)
    return Done(place.paths, {"digest": digest}, received)


def _amd64(entry: Mapping[str, Any]) -> bool:
    platform = entry.get("platform", {})
    return bool(platform.get("os") == "linux" and platform.get("architecture") == "amd64")


def _blob(item: Item, registry: Registry, place: _Place, blob: Mapping[str, Any]) -> int:
    path = place.blob(blob["digest"])
    received = 0
    if not place.store.has(path, blob["digest"].partition(":")[2]):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            wanted = Wanted(
                f"{registry.base}/blobs/{blob['digest']}",
                path,
                blob["digest"].partition(":")[2],
                int(blob["size"]),
                headers=registry.headers(),
            )
            received = download(wanted, patient=True).received
        except FetchError as error:
            raise MirrorError(f"{item.name}: {error}") from None
    place.link("_layers", blob["digest"])
    return received


class _Place:
    """Where docker-registry keeps one repository."""

    def __init__(self, store: Store, repository: str) -> None:
        self.store = store
        self._root = store.registry / "docker/registry/v2"
        self._repository = self._root / "repositories" / repository
        self.paths: list[Path] = []

    def blob(self, digest: str) -> Path:
        """The file of a blob; counted as the image's."""
        algorithm, dummy, value = digest.partition(":")
        if algorithm != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", value):
            raise MirrorError(f"{digest!r} is no sha256 digest.")
        path = self._root / "blobs/sha256" / value[:2] / value / "data"
        if path not in self.paths:
            self.paths.append(path)
        return path

    def keep(self, digest: str, data: bytes) -> None:
        """Write a manifest and name it in the repository."""
        write(self.blob(digest), data.decode("utf-8"))
        self.link("_manifests/revisions", digest)

    def link(self, kind: str, digest: str) -> None:
        """Name a blob in the repository."""
        self._link(self._repository / kind / "sha256" / digest.partition(":")[2] / "link", digest)

    def tag(self, name: str, digest: str) -> None:
        """Name a manifest by a tag."""
        tag = self._repository / "_manifests/tags" / name
        self._link(tag / "current/link", digest)
        self._link(tag / "index/sha256" / digest.partition(":")[2] / "link", digest)

    def _link(self, path: Path, digest: str) -> None:
        if not path.is_file() or path.read_text(encoding="utf-8") != digest:
            write(path, digest)
        self.paths.append(path)
