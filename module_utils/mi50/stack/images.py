"""Lock images: what a registry says is behind the stack's tag, at the first look. Runs on the controller.

A manifest's digest pins everything below it, so that kilobytes are read instead of 30 GB. From then on nodes pull by
digest, and where a tag moves to is nobody's business.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..mirror.errors import MirrorError
from ..mirror.image import Registry
from .load import StackError


def entry(artifact: dict[str, Any]) -> dict[str, Any]:
    """Return the lock entry of an image: the digest of its tag. Raises StackError naming the image and the reason."""
    name, path = artifact["name"], artifact["path"]
    if not artifact["url"]:
        raise StackError(f"{name}: has no address: {artifact['base']} is empty")
    host = artifact["url"][: -len(path) - 1]
    try:
        body, dummy = Registry(host, path, [host] if _here(host) else []).manifest(artifact["version"])
    except MirrorError as error:
        raise StackError(
            f"{name}: {artifact['url']}:{artifact['version']}: {error} (path and version are the stack's; "
            f"{artifact['base']} names another registry)"
        ) from error
    _for_us(f"{name}: {artifact['url']}:{artifact['version']}", body)
    return {"url": artifact["url"], "path": path, "digest": f"sha256:{hashlib.sha256(body).hexdigest()}"}


def _here(host: str) -> bool:
    """Whether it is this machine's own registry, which speaks plain http, as Docker has it."""
    name = host.partition("/")[0].partition(":")[0]
    return name == "localhost" or name.startswith("127.")


def _for_us(where: str, body: bytes) -> None:
    """Raise StackError for what is no image, or a list of images without one for linux/amd64."""
    try:
        found = json.loads(body)
        platforms = [(one.get("platform") or {}) for one in found.get("manifests", [])]
        whole = "config" in found or "manifests" in found
    except (ValueError, AttributeError) as error:
        raise StackError(f"{where}: what came is no manifest: {error}") from error
    if not whole:
        raise StackError(f"{where}: what came is no manifest of an image")
    names = [f"{one.get('os')}/{one.get('architecture')}" for one in platforms]
    if names and "linux/amd64" not in names:
        raise StackError(f"{where}: has images for {', '.join(names)}, none for linux/amd64")
