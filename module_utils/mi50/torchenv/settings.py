"""The settings of the role pytorch, completed from the stack. Runs on the controller, in one call for each node.

As templates the same answers cost each node of a play a tenth of a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = "torch-index"
LIBRARY = "/usr/local/lib/mi50-aipc/compute"
COMMAND = "/usr/local/bin/mi50-compute"
# Variables of the role, without its prefix; lookup_plugins/torch_env.py reads them.
SETTINGS = (
    *("root", "python", "environments", "triton_wheel", "triton_sha256", "kernels", "keep_previous", "keep_wheels"),
    *("proof", "proof_device", "proof_only", "proof_train", "proof_timeout", "cache_dir", "sysfs_root", "dev_root"),
)
_PACKAGES = ("torch", "torchvision", "torchaudio")


def plan(stack: Mapping[str, Any], given: Mapping[str, Any], program: list[dict[str, str]]) -> dict[str, Any]:
    """Return the options of the module torch_env; `given` holds SETTINGS, `program` is what files() says.

    `stack` is resolved.
    `patched`: whether this stack's rocBLAS lacks gfx906 kernels.
    """
    python, index = stack["python"], stack["artifacts"].get(INDEX) or {}
    patched = bool(stack["gfx906_rocblas"]["needed"])
    options = {
        "root": given["root"],
        "python": given["python"],
        "torch": {name: python[name] for name in _PACKAGES if python[name]},
        "index": index.get("url") or "",
        "pypi": stack["bases"].get("mi50_url_pypi") or "",
        "wheels": {name: digest for name, digest in (index.get("wheels") or {}).items() if digest},
        "triton_wheel": given["triton_wheel"],
        "triton_sha256": given["triton_sha256"],
        "triton_version": python["triton"] or "",
        # An empty mapping asks for kernels that are whole; null for none.
        "kernels": (given["kernels"] or {}) if patched else None,
        "environments": [{"state": "present", **_named(one)} for one in given["environments"]],
        "files": program,
        "proof": {
            "enabled": given["proof"],
            "device": given["proof_device"],
            "only": given["proof_only"],
            "train": given["proof_train"],
            "timeout": given["proof_timeout"],
            "library": LIBRARY,
        },
        **{name: given[name] for name in ("keep_previous", "keep_wheels", "cache_dir", "sysfs_root", "dev_root")},
    }
    return {"options": {name: value for name, value in options.items() if value != ""}, "patched": patched}


def _named(one: Any) -> dict[str, Any]:  # noqa: ANN401 - a name or a mapping, as the user wrote it
    return dict(one) if isinstance(one, Mapping) else {"name": str(one)}


def files(checkout: Path, *, contents: bool = False) -> list[dict[str, str]]:
    """The compute proof as files of the node: the package and its command, with digests, or with contents too."""
    package = checkout / "compute" / "mi50_compute"
    found = [(f"{LIBRARY}/mi50_compute/{path.name}", "0644", path) for path in sorted(package.glob("*.py"))]
    found.append((COMMAND, "0755", checkout / "compute" / "mi50-compute"))
    return [_file(path, mode, source, contents=contents) for path, mode, source in found]


def _file(path: str, mode: str, source: Path, *, contents: bool) -> dict[str, str]:
    text = source.read_text(encoding="utf-8")
    file = {"path": path, "mode": mode, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return {**file, "content": text} if contents else file
