"""Fetch one file of a stack into a cache, and prove what it is before anybody relies on it. Runs on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import process
from ..fetch.download import Wanted, download
from ..fetch.errors import FetchError
from ..fetch.record import sha256_of
from .load import StackError


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
        _fetch(url, target, name)
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


def _fetch(url: str, target: Path, name: str) -> None:
    try:
        download(Wanted(url, target))
    except FetchError as exc:
        raise StackError(f"{name}: {exc}") from exc


def _check_signature(artifact: dict[str, Any], target: Path, keyring: str) -> str:
    """Verify the detached signature with gpgv; return the fingerprint of the signing key. Raises StackError."""
    name = artifact["name"]
    if not Path(keyring).is_file():
        raise StackError(f"{name}: the keyring {keyring} does not exist; install it or leave the keyring empty")
    signature = target.with_name(target.name + ".sig")
    signature.unlink(missing_ok=True)
    _fetch(artifact["signature"]["url"], signature, name)
    command = ["gpgv", "--status-fd", "1", "--keyring", keyring, str(signature), str(target)]
    try:
        done = process.run(command, timeout=600)
    except FileNotFoundError as exc:
        raise StackError(f"{name}: gpgv is needed to verify the signature: apt-get install gpgv") from exc
    valid = [
        line.split()
        for line in done.output.decode("utf-8", "replace").splitlines()
        if line.startswith("[GNUPG:] VALIDSIG ")
    ]
    if done.code or not valid:
        reason = " ".join(done.errors.decode("utf-8", "replace").split())
        raise StackError(f"{name}: the signature {artifact['signature']['url']} does not verify: {reason}")
    return valid[0][2]
