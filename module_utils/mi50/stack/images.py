"""Lock images: what a registry says the digest behind the stack's tag is, at the first look. Runs on the controller.

A manifest's digest pins everything below it, so kilobytes are read instead of 30 GB. From then on nodes pull by digest,
and where a tag moves to is nobody's business. Source: distribution/spec, "Pulling manifests"; token authentication.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from .load import StackError

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_LIMIT = 4 << 20  # the largest manifest a registry has to take
_SECONDS = 60.0
_FIELD = re.compile(r'(\w+)="([^"]*)"')
# Docker Hub's API does not answer under its name.
_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


def entry(artifact: dict[str, Any]) -> dict[str, Any]:
    """Return the lock entry of an image: the digest of its tag. Raises StackError naming the image and the reason."""
    name = artifact["name"]
    if not artifact["url"]:
        raise StackError(f"{name}: has no address: {artifact['base']} is empty")
    host, dummy, path = artifact["url"].partition("/")
    address = f"{_scheme(host)}://{_HUB.get(host, host)}/v2/{path}/manifests/{artifact['version']}"
    body, said = _manifest(name, address)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if said not in ("", digest):
        raise StackError(f"{name}: {address}: what came has {digest}, the registry says {said}: changed on the way")
    _for_us(name, address, body)
    return {"url": artifact["url"], "path": artifact["path"], "digest": digest}


def _scheme(host: str) -> str:
    """Plain http for this machine's own registry, as Docker has it; https for every other."""
    name = host.partition(":")[0]
    return "http" if name == "localhost" or name.startswith("127.") else "https"


def _manifest(name: str, address: str) -> tuple[bytes, str]:
    """The manifest's bytes and the digest the registry states. Raises StackError."""
    try:
        return _get(address, {"Accept": _ACCEPT})
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise StackError(f"{name}: {address}: {_meaning(error)}") from error
        wanted = error.headers.get("WWW-Authenticate", "")
    except (urllib.error.URLError, OSError) as error:
        raise StackError(f"{name}: {address}: {error}: no answer; set its base to a mirror, or try again") from error
    try:
        return _get(address, {"Accept": _ACCEPT, "Authorization": f"Bearer {_anonymous(wanted, address)}"})
    except urllib.error.HTTPError as error:
        raise StackError(f"{name}: {address}: {_meaning(error)}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise StackError(f"{name}: {address}: no anonymous access: {error}") from error


def _anonymous(wanted: str, address: str) -> str:
    """What a registry hands to everybody for one repository. Raises ValueError, OSError."""
    fields = dict(_FIELD.findall(wanted))
    realm = fields.pop("realm", "")
    if not wanted.startswith("Bearer ") or urlsplit(realm).scheme not in ("https", urlsplit(address).scheme):
        raise ValueError(f"the registry asks for {wanted[:80] or 'a login'}")
    body, dummy = _get(f"{realm}?{urlencode(fields)}", {})
    found = json.loads(body)
    return str(found.get("token") or found["access_token"])


def _get(address: str, headers: dict[str, str]) -> tuple[bytes, str]:
    # Not among the opener's own headers: those would go along to wherever it is redirected.
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - https, or this machine's own registry
    with urllib.request.build_opener().open(request, timeout=_SECONDS) as answer:
        return answer.read(_LIMIT), answer.headers.get("Docker-Content-Digest", "")


def _meaning(error: urllib.error.HTTPError) -> str:
    if error.code == HTTPStatus.NOT_FOUND:
        return "the registry has no such image or tag: correct path and version in the stack"
    return f"HTTP {error.code}"


def _for_us(name: str, address: str, body: bytes) -> None:
    """Raise StackError for what is no image, or a list of images without one for linux/amd64."""
    try:
        found = json.loads(body)
        platforms = [(one.get("platform") or {}) for one in found.get("manifests", [])]
        whole = "config" in found or "manifests" in found
    except (ValueError, AttributeError) as error:
        raise StackError(f"{name}: {address}: what came is no manifest: {error}") from error
    if not whole:
        raise StackError(f"{name}: {address}: what came is no manifest of an image")
    names = [f"{one.get('os')}/{one.get('architecture')}" for one in platforms]
    if names and "linux/amd64" not in names:
        raise StackError(f"{name}: {address}: has images for {', '.join(names)}, none for linux/amd64")
