"""The options of the module `torch_env`, and its answer when it is asked only whether anything is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .look import Look, look
from .model import TorchEnvError

# What build_once calls it.
BUILD = "triton"
_ENVIRONMENT = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
_FILE = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "sha256": {"type": "str", "required": True},
    "content": {"type": "str"},
}
_PROOF = {
    "enabled": {"type": "bool", "default": True},
    "device": {"type": "str", "default": "auto"},
    "only": {"type": "list", "elements": "str", "default": []},
    "train": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
    "library": {"type": "path", "default": "/usr/local/lib/mi50-aipc/compute"},
}
SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "step": {"type": "str", "choices": ["look", "build", "finish", "verify"], "default": "look"},
    "root": {"type": "path", "default": "/opt/mi50-aipc/venvs"},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "torch": {"type": "dict", "default": {}},
    "index": {"type": "str", "default": ""},
    "pypi": {"type": "str", "default": ""},
    "wheels": {"type": "dict", "default": {}},
    "triton_wheel": {"type": "path"},
    "triton_sha256": {"type": "str", "default": ""},
    "triton_version": {"type": "str", "default": ""},
    "kernels": {"type": "dict"},
    "environments": {"type": "list", "elements": "dict", "default": [], "options": _ENVIRONMENT},
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "proof": {"type": "dict", "apply_defaults": True, "options": _PROOF},
    "generation": {"type": "path"},
    "cache_dir": {"type": "path", "default": "/var/cache/mi50-aipc"},
    "progress": {"type": "path", "default": "/run/mi50-aipc/torch.json"},
    "keep_previous": {"type": "bool", "default": True},
    "keep_wheels": {"type": "bool", "default": False},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "dev_root": {"type": "path", "default": "/dev"},
}


def answer(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what there is when nothing is left to do, else None; `options` are valid by SPEC. Changes nothing."""
    try:
        seen = look(options)
    except (TorchEnvError, OSError):
        return None  # the role asks again, and then says what is wrong
    if not seen.settled:
        return None
    known = facts(seen)
    triton = f"triton {known['triton']}" if known["triton"] else "triton missing"
    return {"settled": True, "has": f"torch {known['torch']}, {triton}", **known}


def with_builds(options: Mapping[str, Any], built: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Complete `options` with the triton that build_once has seen on the node, unless they name a wheel themselves.

    A build that the node does not have, or has damaged, is no wheel to ask for: build_once says what is wrong with it.
    """
    triton = (built or {}).get("builds", {}).get(BUILD) or {}
    if not triton.get("path") or options.get("triton_wheel"):
        return options
    return {**options, "triton_wheel": triton["path"], "triton_sha256": triton.get("sha256") or ""}


def facts(seen: Look) -> dict[str, Any]:
    """What the role hands on: versions, whether triton is there, the environments, the proof in one line."""
    record = seen.record or {}
    triton = record.get("triton")
    return {
        "torch": record.get("pins", {}).get("torch"),
        "triton": triton["version"] if triton else None,
        "environments": [child.name for child in seen.environments if not child.remove],
        "proof": proof_line(seen),
    }


def proof_line(seen: Look) -> str:
    """What is known of the environment's computing, in one line."""
    if seen.proof:
        return str(seen.proof["line"])
    return f"not yet: {seen.pending}" if seen.pending else "none"
