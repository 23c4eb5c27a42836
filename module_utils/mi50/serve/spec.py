"""Options of llm_service, as an Ansible argument spec; each engine's own are in its SPEC."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent", "present", "proven"], "default": "present"},
    "options": {"type": "dict", "default": {}},
    "user": {"type": "str", "default": ""},
    "bind": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 8080},
    "api_key": {"type": "str", "default": "", "no_log": True},
    "api_key_file": {"type": "path", "required": True, "no_log": False},
    "gpus": {"type": "list", "elements": "str", "default": []},
    "min_tokens_per_second": {"type": "float", "default": 0, "no_log": False},
    "allow_software": {"type": "bool", "default": False},
    "allow_small_bar": {"type": "bool", "default": False},
    "load_timeout": {"type": "float", "default": 900},
    "answer_timeout": {"type": "float", "default": 120},
    "health_interval": {"type": "int", "default": 30},
    "health_timeout": {"type": "float", "default": 10},
    "health_completion_every": {"type": "int", "default": 600},
    "asked": {"type": "str", "default": ""},
    "plan_only": {"type": "bool", "default": False},
    "sysfs_root": {"type": "path", "default": "/sys"},
    "proc_root": {"type": "path", "default": "/proc"},
    "dev_root": {"type": "path", "default": "/dev"},
}
