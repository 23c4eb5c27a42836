"""Give every `base` + `path` of a stack its address; check values are never touched."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .load import Stack, StackError, walk_mappings

REGISTRY_PREFIX = "mi50_registry_"


def check_base(name: str, value: object) -> str:
    """Return a base without trailing slashes.

    Raises StackError unless it is empty, an http(s)/file URL, or, for a registry, host[:port][/path] without a scheme.
    """
    if not isinstance(value, str):
        raise StackError(
            f"{name}: {value!r} is not a string; give a base URL, or an empty string for the default of the tool"
        )
    text = value.strip().rstrip("/")
    if not text:
        return ""
    if any(c.isspace() for c in text):
        raise StackError(f"{name}: {value!r} contains white space; give one base URL")
    if name.startswith(REGISTRY_PREFIX):
        if "://" in text:
            raise StackError(f"{name}: {value!r} is a URL; an image registry is host[:port][/path] without a scheme")
        return text
    try:
        parts = urlsplit(text)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok = False
    if not port_ok or parts.scheme not in ("http", "https", "file") or not (parts.netloc or parts.scheme == "file"):
        raise StackError(f"{name}: {value!r} is not a base URL; write it like https://mirror.example/path")
    if parts.query or parts.fragment:
        raise StackError(f"{name}: {value!r} has a query or fragment; paths are appended to it, so give the bare base")
    return text


def resolve(stack: Stack, overrides: dict[str, Any]) -> Stack:
    """Return the stack with `url` in every mapping that has base and path, and `artifacts` as a dict by name.

    `overrides` are inventory values by base name; None counts as not set. Raises StackError for a malformed one.
    A path or base that is empty gives `url: null`. A signature inherits the base of its artifact.
    """
    bases = {name: check_base(name, value) for name, value in stack["bases"].items()}
    for name in bases:
        if overrides.get(name) is not None:
            bases[name] = check_base(name, overrides[name])
    stack["bases"] = bases
    for artifact in stack["artifacts"]:
        if "signature" in artifact:
            artifact["signature"].setdefault("base", artifact["base"])
    for _where, mapping in walk_mappings(stack):
        if "base" in mapping and "path" in mapping:
            base, path = bases[mapping["base"]], mapping["path"]
            mapping["url"] = f"{base}/{path}" if base and path else None
    stack["artifacts"] = {artifact["name"]: artifact for artifact in stack["artifacts"]}
    return stack
