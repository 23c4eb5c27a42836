"""Registries in /etc/docker/daemon.json: entries of ours merged into a file that belongs to somebody else.

dockerd has no folder of drop-ins, and refuses a setting that stands both in the file and among its flags. So single
entries of two lists are added and taken away again, the rest of the file stays as it is; a note says which are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .errors import ContainerError

PATH = "/etc/docker/daemon.json"
NOTE = "/etc/mi50-aipc/docker-registries.json"
MIRRORS, INSECURE = "registry-mirrors", "insecure-registries"
# The flag of dockerd for each setting: both at once, and dockerd does not start.
FLAGS = {MIRRORS: "--registry-mirror", INSECURE: "--insecure-registry"}
_HOST = r"[A-Za-z0-9.-]+(?::\d{1,5})?"
_MIRROR = re.compile(rf"https?://{_HOST}/?")
_REGISTRY = re.compile(rf"{_HOST}|[0-9a-fA-F.:]+/\d{{1,3}}")
_INDENT = re.compile(r"\n([ \t]+)\"")

Lists = Mapping[str, Sequence[str]]


class Merge(NamedTuple):
    """The file's text as it shall be (None: no file), and the entries in it that are ours (both empty: none)."""

    text: str | None
    ours: dict[str, list[str]]
    changed: bool


def wanted(mirrors: Sequence[str], insecure: Sequence[str]) -> dict[str, list[str]]:
    """Return the entries asked for. Raises ContainerError for one that dockerd would refuse."""
    for one in mirrors:
        if not _MIRROR.fullmatch(one):
            raise ContainerError(
                f"container_engine_registry_mirrors: {one!r}: a mirror of Docker Hub is http(s)://HOST[:PORT], without "
                "a path. Other registries are named in the image itself (mi50_registry_docker)."
            )
    for one in insecure:
        if not _REGISTRY.fullmatch(one):
            raise ContainerError(
                f"container_engine_insecure_registries: {one!r}: write HOST[:PORT] or a network such as 10.0.0.0/8."
            )
    return {MIRRORS: list(dict.fromkeys(mirrors)), INSECURE: list(dict.fromkeys(insecure))}


def merge(text: str | None, ours: Lists, want: Lists) -> Merge:
    """Return the file with our entries as wanted and everybody else's as they are; `ours`: what the note says.

    Raises ContainerError for a file that is no JSON object, or whose lists are none.
    """
    settings = _parse(text)
    result, mine = dict(settings), {}
    for key in (MIRRORS, INSECURE):
        found = settings.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ContainerError(
                f"{PATH}: {key} is {found!r}, no list of strings. Mend it; dockerd does not start with it."
            )
        foreign = [one for one in found if one not in ours.get(key, ())]
        mine[key] = [one for one in want.get(key, ()) if _plain(one) not in map(_plain, foreign)]
        entries = foreign + mine[key]
        if entries:
            result[key] = entries
        elif found:
            del result[key]
    kept = {key: value for key, value in mine.items() if value}
    if result == settings:
        return Merge(text, kept, changed=False)
    if not result:
        return Merge(None, kept, changed=True)
    indent = _INDENT.search(text or "")
    return Merge(json.dumps(result, indent=indent.group(1) if indent else 2) + "\n", kept, changed=True)


def conflicts(flags: Sequence[str], want: Lists) -> list[str]:
    """Say which settings dockerd gets among its flags already; it does not start when they stand in the file too."""
    return [
        f"dockerd is started with {FLAGS[key]}, so {key} cannot stand in {PATH} as well: dockerd would not start. "
        f"Move the flag's value into {PATH}, or leave the variable empty"
        for key, values in want.items()
        if values and any(word.split("=", 1)[0] == FLAGS[key] for word in flags)
    ]


def note(text: str | None) -> dict[str, list[str]]:
    """Return the entries that are ours by our note; a missing or damaged one means none."""
    try:
        found = json.loads(text or "{}")
        return {key: [str(one) for one in found.get(key, [])] for key in (MIRRORS, INSECURE)}
    except (ValueError, AttributeError, TypeError):
        return {}


def in_force(info: Mapping[str, Any], want: Lists) -> list[str]:
    """Say which entries the running engine does not know; `info` is what `docker info` says in JSON."""
    registry = info.get("RegistryConfig") or {}
    mirrors = {_plain(one) for one in registry.get("Mirrors") or []}
    insecure = {str(one) for one in registry.get("InsecureRegistryCIDRs") or []}
    insecure |= {name for name, one in (registry.get("IndexConfigs") or {}).items() if not one.get("Secure", True)}
    lacking = [one for one in want.get(MIRRORS, ()) if _plain(one) not in mirrors]
    return lacking + [one for one in want.get(INSECURE, ()) if one not in insecure]


def _parse(text: str | None) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ContainerError(
            f"{PATH}: is no JSON ({error}). It is not touched; mend it, dockerd does not start with it."
        ) from None
    if not isinstance(found, dict):
        raise ContainerError(f"{PATH}: holds {type(found).__name__}, no object. It is not touched; mend it.")
    return found


def _plain(address: str) -> str:
    return address.rstrip("/")
