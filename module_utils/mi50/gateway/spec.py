"""Options of the module gateway, as an Ansible argument spec, and the settings they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .model import Engine, Settings

SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["absent", "drained", "present", "ready"], "default": "present"},
    "backends": {"type": "list", "elements": "dict", "default": []},
    "node": {"type": "str", "default": ""},
    "last": {"type": "bool", "default": False},
    "seconds": {"type": "float", "default": 10},
    "optional": {"type": "bool", "default": False},
    # Ciphertext: it shows nothing.
    "sealed": {"type": "dict", "default": {}, "no_log": False},
    "without_keys": {"type": "bool", "default": False, "no_log": False},
    "bind": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 8800},
    "metrics_bind": {"type": "str", "default": "127.0.0.1"},
    "metrics_port": {"type": "int", "default": 8405},
    "certificate": {"type": "path", "default": ""},
    "certificate_key": {"type": "path", "default": "", "no_log": False},
    "clients": {"type": "list", "elements": "str", "default": ["default"]},
    "api_keys": {"type": "dict", "default": {}, "no_log": True},
    "max_body": {"type": "int", "default": 1048576},
    "max_connections": {"type": "int", "default": 512},
    "timeout": {"type": "int", "default": 3600},
    "queue_timeout": {"type": "int", "default": 600},
    "check_interval": {"type": "int", "default": 2},
}
_PLAIN = ("bind", "port", "metrics_bind", "metrics_port", "certificate", "certificate_key", "max_body",
          "max_connections", "timeout", "queue_timeout", "check_interval")  # fmt: skip
# From where on HAProxy or this project's use of it makes no sense; and the greatest buffer HAProxy 2.6 takes.
_LOWEST = {"max_body": 16384, "max_connections": 1, "timeout": 10, "queue_timeout": 1, "check_interval": 1}
_GREATEST_BODY = 64 << 20


def settings(params: Mapping[str, Any]) -> Settings:
    """The settings among the options."""
    given = {str(name): str(key) for name, key in params["api_keys"].items()}
    return Settings(clients=tuple(params["clients"]), given=given, **{name: params[name] for name in _PLAIN})


def engines(params: Mapping[str, Any]) -> list[Engine]:
    """The engines among the options."""
    return [Engine.of(one) for one in params["backends"]]


def problems(params: Mapping[str, Any]) -> list[str]:
    """Numbers that make no sense."""
    found = [f"gateway_{name} is {params[name]}: give {low} or more" for name, low in _LOWEST.items()
             if params[name] < low]  # fmt: skip
    if params["max_body"] > _GREATEST_BODY:
        found.append(f"gateway_max_body is {params['max_body']}: give {_GREATEST_BODY} at most; each request that is "
                     "being read takes that much memory")  # fmt: skip
    return found
