"""The question `rocm_info`: its options, and the answer of this node to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..apt import state
from . import driver, host, info

_NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
_FILE = {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}}
_SOURCE = {
    "path": {"type": "path", "required": True},
    "uri": {"type": "str", "required": True},
    "components": {"type": "list", "elements": "str", "default": ["main"]},
    "architectures": {"type": "list", "elements": "str", "default": ["amd64"]},
    "keyring": {"type": "path", "required": True, "no_log": False},
    "fingerprints": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "cache_valid_time": {"type": "int", "default": 86400},
    "stamp_dir": {"type": "path", "default": "/var/cache/mi50-aipc"},
}
SPEC: dict[str, dict[str, Any]] = {
    "version": {"type": "str", "required": True},
    "build": {"type": "str", "required": True},
    "platforms": {"type": "list", "elements": "dict", "default": []},
    "packages": _NAMES,
    "driver": {"type": "str", "choices": ["auto", "inbox", "dkms"], "default": "auto"},
    "driver_packages": _NAMES,
    "users": _NAMES,
    "groups": {"type": "list", "elements": "str", "default": ["render", "video"]},
    "uris": _NAMES,
    "source": {"type": "dict", "options": _SOURCE},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
    "dev_root": {"type": "path", "default": "/dev"},
}


class Unanswered(Exception):
    """The node cannot take the release, or has no apt; the text says why and what to do."""


def answer(options: Mapping[str, Any], run: info.Runner) -> dict[str, Any]:
    """Return what `rocm_info` returns; `options` are valid by SPEC. Raises Unanswered."""
    params = dict(options)
    source = params.pop("source")
    trees = (Path(params.pop(f"{name}_root")) for name in ("sysfs", "proc", "dev"))
    try:
        result = info.collect(host.Roots(Path("/"), *trees), info.Wanted(**params), run)
    except driver.PlatformError as error:
        raise Unanswered(str(error)) from error
    except FileNotFoundError as error:
        text = f"{error.filename} is missing: ROCm is installed with apt, on Debian or Ubuntu only"
        raise Unanswered(text) from error
    sound = _source_settled(source, result["platform"].get("suite", ""), params["build"])
    return {"settled": sound and info.settled(result), **result}


def _source_settled(source: Mapping[str, Any] | None, suite: str, build: str) -> bool:
    """Tell whether the apt source is as asked for."""
    if source is None:
        return False
    return state.settled(state.settings({**source, "suite": suite, "build": build}), root=Path("/"), now=time.time())
