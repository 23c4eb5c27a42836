"""One keyring file that holds exactly the keys whose fingerprints are pinned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from . import openpgp


class KeyringError(Exception):
    """The offered key is not the pinned one; the text names what was found, what was expected and the way out."""


@dataclass(frozen=True)
class Plan:
    """What the keyring file shall hold. `data` is None when the installed file already does."""

    data: bytes | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d")


def _describe(keys: Iterable[openpgp.Key]) -> tuple[str, ...]:
    return tuple(
        f"{openpgp.format_fingerprint(key.fingerprint)}{f' until {_date(key.expires)}' if key.expires else ''}"
        for key in keys
    )


def _installed(data: bytes | None) -> list[openpgp.Key]:
    """Keys of the installed file; a damaged file counts as none, it is about to be replaced."""
    if not data:
        return []
    try:
        return openpgp.read_keys(data)
    except openpgp.KeyDataError:
        return []


def choose(offered: bytes, wanted: list[str], source: str) -> list[openpgp.Key]:
    """Pick the pinned keys out of `offered`, in the order of `wanted`.

    Raises KeyringError when one is missing; nothing but the pinned keys is ever returned.
    """
    try:
        found = {key.fingerprint: key for key in openpgp.read_keys(offered)}
    except openpgp.KeyDataError as error:
        raise KeyringError(
            f"{source} holds no usable key: {error}. Fetch the key on a machine with network, compare its "
            f"fingerprint with "
            "the vendor's documentation, and give the file as rocm_apt_key_file; behind a proxy check mi50_https_proxy."
        ) from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise KeyringError(
            f"wrong signing key in {source}: expected {' and '.join(map(openpgp.format_fingerprint, missing))}, "
            f"found {' and '.join(map(openpgp.format_fingerprint, found))}. Nothing was written. If the vendor "
            f"announced a new key, "
            "set rocm_apt_key_fingerprint to it; otherwise the mirror or the connection is not to be trusted."
        )
    return [found[name] for name in wanted]


def plan(installed: bytes | None, wanted: list[str], fetch: Callable[[], tuple[bytes, str]], now: float) -> Plan:
    """Compare the installed keyring with the pinned fingerprints; call `fetch` (bytes, where from) only when needed.

    An installed key that has expired is fetched again, because vendors extend keys under the same fingerprint.
    Raises KeyringError for a wrong or unreadable key; whatever `fetch` raises goes through.
    """
    before = _installed(installed)
    exact = [key.fingerprint for key in before] == wanted
    if exact and not any(key.expired(now) for key in before):
        return Plan(None, _describe(before), _describe(before))
    data, source = fetch()
    keys = choose(data, wanted, source)
    warnings = tuple(
        f"key {openpgp.format_fingerprint(key.fingerprint)} from {source} expired on {_date(key.expires or 0)}: "
        f"apt will refuse "
        "the repository. Get the extended key (same fingerprint) from the vendor and give it as rocm_apt_key_file."
        for key in keys
        if key.expired(now)
    )
    content = b"".join(key.data for key in keys)
    return Plan(None if content == installed else content, _describe(before), _describe(keys), warnings)
