"""Arguments of the module `model`."""

from __future__ import annotations

from typing import Any

FILE = {"path": {"type": "str", "required": True}, "sha256": {"type": "str"}, "size": {"type": "int"}}
MODEL = {
    "name": {"type": "str", "required": True},
    "summary": {"type": "str"},
    "source": {"type": "str", "choices": ["huggingface", "modelscope", "url", "path"], "default": "huggingface"},
    "repo": {"type": "str"},
    "revision": {"type": "str"},
    "url": {"type": "str"},
    "path": {"type": "str"},
    "files": {"type": "list", "elements": "dict", "default": [], "options": FILE},
    "include": {"type": "list", "elements": "str", "default": []},
    "check": {"type": "dict", "default": {}},
}
SPEC: dict[str, Any] = {
    "models": {"type": "list", "elements": "dict", "default": [], "options": MODEL},
    "absent": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "path", "default": "/var/lib/mi50-aipc/models"},
    "endpoints": {"type": "dict", "default": {}},
    "token_files": {"type": "dict", "default": {}, "no_log": False},
    "reread": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    "look": {"type": "bool", "default": False},
    "progress": {"type": "path", "default": "/run/mi50-aipc/models.json"},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
    "dev_root": {"type": "path", "default": "/dev"},
}
