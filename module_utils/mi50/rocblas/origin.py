"""Where the kernels come from: the settings of the role gfx906_rocblas, completed from the stack.

Runs on the controller, in one call: as templates the same answers cost each node of a play a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# For zstd the module uses the libzstd that dpkg itself needs.
TOOLS = ("xz-utils",)
# Variables of the role, without its prefix; lookup_plugins/gfx906_rocblas.py reads them.
SETTINGS = (
    "source",
    "src",
    "dest",
    "version",
    "expected_files",
    "keyring",
    "url",
    "signature_url",
    "checksum",
    "debian_url",
    "cache_dir",
    "fetch",
    "controller_dir",
    "keep_archive",
    "allow_version_mismatch",
    "verify",
    "threads",
)


def plan(stack: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the role does with `given`, its SETTINGS without their prefix; None in one means the stack's value.

    `stack` is resolved. The result has `needed` (false: AMD's own rocBLAS has the kernels), `problem` (a sentence,
    empty when the source can be used), `options` of the module gfx906_rocblas, `files` for artifact_fetch on the node
    or on the controller, whichever fetches, the `copies` from the one to the other, the `packages` that read and check
    the source, and `discard`, what to do with it afterwards on the node.
    """
    patch = stack["gfx906_rocblas"]
    origin: Mapping[str, Any] = patch["sources"].get(given["source"]) or {}
    artifact: Mapping[str, Any] = stack["artifacts"].get(origin.get("artifact") or "") or {}
    fetched = given["source"] != "local"
    url = _set(given["url"], _url(given, origin, artifact))
    signature_url = _set(given["signature_url"], (artifact.get("signature") or {}).get("url") or "")
    checksum = _set(given["checksum"], artifact.get("sha256") or origin.get("sha256") or "")
    keyring = _set(given["keyring"], origin.get("keyring") or "")
    signed = given["source"] == "arch" and bool(signature_url)
    src = _cached(given["cache_dir"], url) if fetched else given["src"]
    signature = _cached(given["cache_dir"], signature_url) if signed else ""
    options = {
        "src": src,
        "dest": _set(given["dest"], [f"/opt/rocm-{stack['rocm']['version']}"]),
        "gpu_arch": patch["gpu_arch"],
        "version": _set(given["version"], origin.get("package_version")),
        "signature": signature,
        "keyring": keyring if signed else "",
        "expected_files": int(_set(given["expected_files"], origin.get("expected_files") or 0)),
        "allow_version_mismatch": given["allow_version_mismatch"],
        "verify": given["verify"],
        "threads": given["threads"],
        # What the record in the library must name for the package not to be needed; a local file is known by its bytes.
        "source_id": url if fetched else "",
        "sha256": checksum if fetched else "",
    }
    files = [{"url": url, "dest": src, "sha256": checksum}] if fetched else []
    files += [{"url": signature_url, "dest": signature}] if signed else []
    copies = []
    if given.get("fetch") == "controller":
        copies = [{"src": _cached(given["controller_dir"], one["url"]), "dest": one["dest"]} for one in files]
        files = [{**one, "dest": copy["src"]} for one, copy in zip(files, copies)]
    return {
        "needed": bool(patch["needed"]),
        "problem": _problem(given, stack["name"], known=bool(origin), url=url, trusted=not signed or bool(keyring)),
        # An empty one is not given, as in a playbook; false is.
        "options": {name: value for name, value in options.items() if value is False or value},
        "files": files,
        "copies": copies,
        "packages": _packages(origin, keyring, signed=signed),
        # Never what the user put there.
        "discard": "never" if not fetched else "rejected" if given["keep_archive"] else "always",
    }


def _set(value: Any, otherwise: Any) -> Any:  # noqa: ANN401 - whatever the setting holds
    return otherwise if value is None else value


def _cached(folder: str, url: str) -> str:
    return f"{folder}/{url.rpartition('/')[2]}"


def _url(given: Mapping[str, Any], origin: Mapping[str, Any], artifact: Mapping[str, Any]) -> str:
    """The stack's address of the package; Debian's is put together as its archive does, below the base given."""
    if given["source"] == "arch":
        return artifact.get("url") or ""
    if given["source"] == "debian" and given["debian_url"]:
        name = f"{origin.get('package', '')}_{origin.get('package_version', '')}_amd64.deb"
        return f"{given['debian_url'].rstrip('/')}/pool/main/r/rocblas/{name}"
    return ""


def _packages(origin: Mapping[str, Any], keyring: str, *, signed: bool) -> list[str]:
    if not signed:
        return [*TOOLS]
    # The keyring's package only for the distribution's own keyring: somebody else's is already where it is.
    own = keyring == origin.get("keyring") and origin.get("keyring_package")
    return [*TOOLS, "gpgv", *([origin["keyring_package"]] if own else [])]


def _problem(given: Mapping[str, Any], stack: str, *, known: bool, url: str, trusted: bool) -> str:
    """Why the source cannot be used, with the way out; empty when it can."""
    label = f"gfx906_rocblas_source: {given['source']}:"
    if given["source"] == "local":
        return "" if given["src"] else f"{label} set gfx906_rocblas_src to the file or directory on the node"
    if not known:
        return f"{label} the stack {stack} knows no such source; choose another, or another mi50_stack"
    if given["source"] == "debian" and not url:
        return f"{label} set gfx906_rocblas_debian_url to a Debian mirror or a snapshot archive"
    return "" if trusted else f"{label} the package is signed; set gfx906_rocblas_keyring to a keyring on the node"
