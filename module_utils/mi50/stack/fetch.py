"""Fetch one file of a stack into a cache, and prove what it is before anybody relies on it. Runs on the controller."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .load import StackError

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(_CHUNK)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def cache_path(cache: Path, artifact: dict[str, Any]) -> Path:
    """Return where an artifact lies in the cache: below its name, so that two files of one name never mix."""
    return cache / str(artifact["name"]) / Path(artifact["path"]).name


def fetch(artifact: dict[str, Any], cache: Path, keyring: str | None) -> dict[str, Any]:
    """Return the lock entry of a file artifact (url, path, sha256, size), fetching it when the cache does not have it.

    Values the stack or its lock already knows are compared; the detached signature is verified when the artifact has
    one and a keyring is given. A file that fails is removed. Raises StackError.
    """
    name, url = artifact["name"], artifact["url"]
    if not url:
        raise StackError(f"{name}: has no address: its base is empty or no release is chosen in the stack")
    target = cache_path(cache, artifact)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        download(url, target, name)
    entry: dict[str, Any] = {"url": url, "path": artifact["path"]}
    try:
        entry["size"], entry["sha256"] = target.stat().st_size, sha256_of(target)
        for key in ("size", "sha256"):
            if artifact.get(key) not in (None, entry[key]):
                raise StackError(
                    f"{name}: {key} of {url} is {entry[key]}, expected {artifact[key]}; nothing was recorded"
                )
        if artifact.get("signature") and keyring:
            entry["signed_by"] = _check_signature(artifact, target, keyring)
    except StackError:
        target.unlink()
        raise
    return entry


def download(url: str, target: Path, name: str) -> None:
    """Fetch a URL into a file, complete or not at all. Proxies come from the environment. Raises StackError."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise StackError(f"{name}: {url} cannot be fetched: only http, https and file addresses can")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        # S310 warns of unexpected schemes; they were refused above.
        with os.fdopen(handle, "wb") as stream, urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            shutil.copyfileobj(answer, stream, _CHUNK)
            announced = answer.headers.get("Content-Length")
        got = Path(temporary).stat().st_size
        if announced is not None and int(announced) != got:
            raise StackError(f"{name}: {url} ended after {got} of {announced} bytes; run again")
        Path(temporary).replace(target)
    except (OSError, urllib.error.URLError) as exc:
        raise StackError(f"{name}: {url} cannot be fetched: {exc}; check the base URL and the proxy settings") from exc
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()


def _check_signature(artifact: dict[str, Any], target: Path, keyring: str) -> str:
    """Verify the detached signature with gpgv; return the fingerprint of the signing key. Raises StackError."""
    name = artifact["name"]
    if not Path(keyring).is_file():
        raise StackError(f"{name}: the keyring {keyring} does not exist; install it or leave the keyring empty")
    signature = target.with_name(target.name + ".sig")
    signature.unlink(missing_ok=True)
    download(artifact["signature"]["url"], signature, name)
    command = ["gpgv", "--status-fd", "1", "--keyring", keyring, str(signature), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except FileNotFoundError as exc:
        raise StackError(f"{name}: gpgv is needed to verify the signature: apt-get install gpgv") from exc
    valid = [line.split() for line in done.stdout.splitlines() if line.startswith("[GNUPG:] VALIDSIG ")]
    if done.returncode or not valid:
        reason = " ".join(done.stderr.split())
        raise StackError(f"{name}: the signature {artifact['signature']['url']} does not verify: {reason}")
    return valid[0][2]
