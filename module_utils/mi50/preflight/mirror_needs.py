"""What a node is about to fetch from an artifact mirror, by the questions of its roles. Runs on the controller.

Addresses that lead elsewhere are none of the mirror's: what is upstream is upstream's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

HUBS = ("mi50_url_huggingface", "mi50_url_modelscope")


def needs(
    stack: Mapping[str, Any],
    asked: Mapping[str, Mapping[str, Any] | None],
    engines: Mapping[str, Iterable[tuple[str, str]]],
    base: str,
) -> list[dict[str, Any]]:
    """Return what the mirror at `base` has to have, in the order of the roles.

    `stack` is resolved, `asked` are the questions by name of the module, `engines` are pairs of an address and the
    digest or commit that is wanted (empty: any), by role. Each need names the module it is `for`, its `kind`, and
    what check_mirror compares.
    """
    found = [*_rocm(stack, asked.get("rocm_info") or {}, base)]
    kernels = asked.get("gfx906_rocblas") or {}
    source = str(kernels.get("source_id") or "")
    found += _file("gfx906_rocblas", source, _locked(stack, source), base)
    torch = asked.get("torch_env") or {}
    index = _below(str(torch.get("index") or ""), base)
    if index:
        pins = dict(torch.get("torch") or {})
        found.append({"for": "torch_env", "kind": "index", "path": index, "pins": pins})
    for build in (asked.get("build_once") or {}).get("builds", []):
        found += _build(stack, build, base)
    for role, addresses in engines.items():
        for address, identity in addresses:
            found += _file(role, address, identity, base)
    if any(_below(str(stack["bases"].get(hub) or ""), base) for hub in HUBS):
        models = (asked.get("model") or {}).get("models", [])
        found += [{"for": "model", "kind": "model", "name": one["name"]} for one in models]
    return found


def _below(address: str, base: str) -> str:
    """The path below the mirror, of an address of its web server or of its registry; empty for others."""
    root = base.rstrip("/") + "/"
    if address.startswith(root):
        return address[len(root) :].strip("/")
    host = urlsplit(base).hostname or ""
    place, dummy, path = address.partition("/")
    # References of images carry no scheme; the registry has a port of its own on the same host.
    return path if host and "://" not in address and place.rpartition(":")[0] == host else ""


def _locked(stack: Mapping[str, Any], address: str) -> str:
    """The sha256 of a file by the stack or its lock; empty where neither knows it."""
    return next((str(one.get("sha256") or "") for one in stack["artifacts"].values() if one.get("url") == address), "")


def _file(module: str, address: str, identity: str, base: str) -> list[dict[str, Any]]:
    path = _below(address, base)
    return [{"for": module, "kind": "path", "path": path, "identity": identity}] if path else []


def _rocm(stack: Mapping[str, Any], asked: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    path = _below(str((asked.get("source") or {}).get("uri") or ""), base)
    if not path:
        return []
    names = sorted({str(name).partition("=")[0] for name in asked.get("packages") or []})
    found = [{"for": "rocm_info", "kind": "apt", "path": path, "packages": names}]
    return found + _file("rocm_info", str(stack["rocm"]["key"]["url"] or ""), "", base)


def _build(stack: Mapping[str, Any], build: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    """The source of a build, its downloads, and what it takes from the package index."""
    recipe: Mapping[str, Any] = next((one for one in stack.get("builds", []) if one["name"] == build["name"]), {})
    artifacts, parts = stack["artifacts"], build.get("parts") or {}
    found = []
    names = [(recipe.get("artifact"), str(parts.get("source") or ""))]
    downloads = [one["artifact"] for one in recipe.get("downloads", [])]
    names += [(name, str((artifacts.get(name) or {}).get("sha256") or "")) for name in downloads]
    for name, identity in names:
        found += _file("build_once", str((artifacts.get(name) or {}).get("url") or ""), identity, base)
    if _below(str(stack["bases"].get("mi50_url_pypi") or "") + "/x", base) and recipe.get("requirements"):
        item = {"for": "build_once", "kind": "requirements", "name": f"build-{build['name']}"}
        found.append({**item, "requirements": str(parts.get("requirements") or "").split()})
    return found
