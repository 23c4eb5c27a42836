"""Ask a hub what a repository holds at a revision: commit, files, sizes, digests. A few kilobytes, no weights.

Hugging Face: huggingface.co/docs/hub/api; ModelScope: its `repo/files`. Both name the sha256 of large files.
"""

from __future__ import annotations

import fnmatch
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from ..fetch.download import proxy_for
from ..fetch.errors import FetchError, explain, mask
from .errors import ModelError
from .wanted import File, Wanted, check_path

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_ANSWER = 64 << 20
_PAGES = 200
_UNAUTHORISED = (401, 403)
# Hubs list what they do not hand out without a token.
GATED = (
    "the repository is private, or its licence has to be accepted on its page. Accept it and give a token "
    "(models_token_files), or use another source."
)
Headers = tuple[tuple[str, str], ...]


class Endpoints:
    """Base addresses of the hubs, and the token for each that has one."""

    def __init__(
        self, bases: Mapping[str, str], tokens: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> None:
        """`bases`, `tokens`: by source; `timeout` in seconds."""
        self._bases = {source: base.rstrip("/") for source, base in bases.items() if base}
        self._tokens = dict(tokens or {})
        self.timeout = timeout

    def base(self, source: str) -> str:
        """Return a hub's base address. Raises ModelError when none is set."""
        if source not in self._bases:
            raise ModelError(f"{source}: no address is set for it; give mi50_url_{source}.")
        return self._bases[source]

    def headers(self, source: str) -> Headers:
        """Return the headers a hub wants; they never go to another host."""
        token = self._tokens.get(source)
        return (("Authorization", f"Bearer {token}"),) if token else ()


def address(wanted: Wanted, path: str, hubs: Endpoints) -> str:
    """Return the address of one file of a model."""
    if wanted.source == "url":
        return f"{wanted.place}/{quote(path)}"
    base = hubs.base(wanted.source)
    revision = quote(wanted.revision, safe="")
    if wanted.source == "modelscope":
        return f"{base}/models/{wanted.repo}/resolve/{revision}/{quote(path)}"
    return f"{base}/{wanted.repo}/resolve/{revision}/{quote(path)}"


def complete(wanted: Wanted, hubs: Endpoints) -> Wanted:
    """Return the model with all that its hub knows: every file with size and digest, and on Hugging Face the commit.

    Values that were given must agree with the hub's. Raises ModelError.
    """
    commit = _commit(wanted, hubs)
    wanted = wanted._replace(revision=commit)
    listed = {file.path: file for file in _listing(wanted, hubs)}
    if wanted.files:
        files = tuple(_agree(wanted, given, listed) for given in wanted.files)
    else:
        files = tuple(file for path, file in sorted(listed.items()) if _included(path, wanted.include))
        if not any(file.path.endswith((".safetensors", ".gguf")) for file in files):
            raise ModelError(
                f"{wanted.name}: {wanted.repo} at {wanted.revision} has no file of weights that matches "
                f"{', '.join(wanted.include)}. Name its files, or set include."
            )
    return wanted._replace(files=files)


def get(url: str, headers: Headers, timeout: float, span: tuple[int, int] | None = None) -> tuple[bytes, Message]:
    """Return an answer's body and headers, `span` (first and last byte) of it when given. Raises FetchError."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise FetchError(f"{mask(url)} cannot be fetched: only http, https and file addresses can.")
    # S310 warns of unexpected schemes; the line above refused them.
    request = urllib.request.Request(url, headers={"User-Agent": "mi50-aipc", "Accept-Encoding": "identity"})  # noqa: S310
    for name, value in headers:
        request.add_unredirected_header(name, value)
    if span:
        request.add_header("Range", f"bytes={span[0]}-{span[1]}")
    limit = span[1] - span[0] + 1 if span else _MAX_ANSWER
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler()).open(request, timeout=timeout) as answer:
            return answer.read(limit), answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _UNAUTHORISED:
            raise FetchError(f"{mask(url)} is refused (HTTP {error.code}): {GATED}") from None
        raise explain(url, error, proxy_for(url)) from None
    except (OSError, ValueError) as error:
        raise explain(url, error, proxy_for(url)) from None


def size(url: str, headers: Headers, timeout: float) -> int | None:
    """Return the size of a file, asked with one byte of it; None when the server does not say. Raises FetchError."""
    dummy, answer = get(url, headers, timeout, (0, 0))
    whole = (answer.get("Content-Range") or "").rpartition("/")[2] or answer.get("Content-Length") or ""
    return int(whole) if whole.isdigit() else None


def _ask(wanted: Wanted, url: str, hubs: Endpoints) -> tuple[Any, Message]:
    try:
        body, headers = get(url, hubs.headers(wanted.source), hubs.timeout)
    except FetchError as error:
        raise ModelError(
            f"{wanted.name}: what {wanted.repo} holds at {wanted.revision} cannot be asked: {error}"
        ) from None
    try:
        return json.loads(body), headers
    except ValueError:
        raise ModelError(
            f"{wanted.name}: {mask(url)} answers with something else than a hub does: {body[:60]!r}."
        ) from None


def _commit(wanted: Wanted, hubs: Endpoints) -> str:
    if wanted.source != "huggingface" or _COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    url = f"{hubs.base(wanted.source)}/api/models/{wanted.repo}/revision/{quote(wanted.revision, safe='')}"
    found, dummy = _ask(wanted, url, hubs)
    commit = str(found.get("sha", "")) if isinstance(found, dict) else ""
    if not _COMMIT.fullmatch(commit):
        raise ModelError(f"{wanted.name}: the hub names no commit for {wanted.repo} at {wanted.revision}.")
    return commit


def _listing(wanted: Wanted, hubs: Endpoints) -> list[File]:
    files = _modelscope(wanted, hubs) if wanted.source == "modelscope" else _huggingface(wanted, hubs)
    # .gitattributes and the like; a path that leads out of the folder is kept, to be refused by name.
    return [file for file in files if not any(re.match(r"\.[^.]", part) for part in file.path.split("/"))]


def _huggingface(wanted: Wanted, hubs: Endpoints) -> list[File]:
    base = hubs.base(wanted.source)
    url = f"{base}/api/models/{wanted.repo}/tree/{quote(wanted.revision, safe='')}?recursive=true"
    files: list[File] = []
    for dummy in range(_PAGES):
        page, headers = _ask(wanted, url, hubs)
        for entry in page if isinstance(page, list) else []:
            if isinstance(entry, dict) and entry.get("type") == "file":
                large = entry.get("lfs") or {}
                blob = "" if large else str(entry.get("oid", ""))
                size = large.get("size", entry.get("size"))
                files.append(File(str(entry.get("path", "")), str(large.get("oid", "")), size, blob))
        following = re.search(r"<([^>]+)>;\s*rel=\"next\"", headers.get("Link", ""))
        if not following:
            return files
        url = urljoin(url, following.group(1))
        if urlsplit(url).netloc != urlsplit(base).netloc:
            raise ModelError(f"{wanted.name}: the hub sends to another host for the rest of its list: {mask(url)}.")
    raise ModelError(f"{wanted.name}: {wanted.repo} has more files than can be listed. Name those you want.")


def _modelscope(wanted: Wanted, hubs: Endpoints) -> list[File]:
    base, revision = hubs.base(wanted.source), quote(wanted.revision, safe="")
    found, dummy = _ask(
        wanted, f"{base}/api/v1/models/{wanted.repo}/repo/files?Revision={revision}&Recursive=true", hubs
    )
    data = found.get("Data") if isinstance(found, dict) else None
    listed = data.get("Files") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        said = found.get("Message") if isinstance(found, dict) else found
        raise ModelError(f"{wanted.name}: ModelScope lists no files of {wanted.repo} at {wanted.revision}: {said!r}.")
    return [
        File(str(entry.get("Path", "")), str(entry.get("Sha256") or "").lower(), entry.get("Size"))
        for entry in listed
        if isinstance(entry, dict) and entry.get("Type") != "tree"
    ]


def _agree(wanted: Wanted, given: File, listed: Mapping[str, File]) -> File:
    found = listed.get(given.path)
    if found is None:
        near = [path for path in sorted(listed) if path.endswith((".gguf", ".safetensors"))][:8]
        raise ModelError(
            f"{wanted.name}: {wanted.repo} at {wanted.revision} has no file {given.path}; it has "
            f"{', '.join(near) or 'no weights'}."
        )
    for key in ("sha256", "size"):
        have, says = getattr(given, key), getattr(found, key)
        if have and says and have != says:
            raise ModelError(
                f"{wanted.name}: {key} of {given.path} is {says} at its hub, {have} is expected. The file was changed; "
                "compare with a second source before you change the value."
            )
    return File(given.path, given.sha256 or found.sha256, given.size or found.size, found.blob)


def _included(path: str, patterns: tuple[str, ...]) -> bool:
    check_path(path, "the hub's list")
    # "original/" and the like hold the same weights in another format: a pattern without a slash is of the top folder.
    return any(fnmatch.fnmatchcase(path, pattern) and ("/" in pattern or "/" not in path) for pattern in patterns)
