"""Names and types of all variables an inventory may set: the shared ones here, the roles' from argument_specs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..stack.load import read_yaml, walk_mappings

# name -> argument specification. The shared settings of AGENTS.md; base URLs of stacks are added by the caller.
SHARED: dict[str, dict[str, Any]] = {
    "mi50_stack": {"type": "str"},
    "mi50_stacks_dir": {"type": "path"},
    "mi50_stack_lock_file": {"type": "path"},
    "mi50_sysfs_root": {"type": "path"},
    "mi50_proc_root": {"type": "path"},
    "mi50_dev_root": {"type": "path"},
    "mi50_http_proxy": {"type": "str"},
    "mi50_https_proxy": {"type": "str"},
    "mi50_no_proxy": {"type": "str"},
    "mi50_report_dir": {"type": "path"},
    "mi50_cache_dir": {"type": "path"},
    "mi50_patience": {"type": "int"},
    "mi50_build_dir": {"type": "path"},
    "mi50_builds": {"type": "list"},
    "mi50_reboot": {"type": "str", "choices": ["never", "ask", "auto"]},
    "mi50_reboot_serial": {"type": "raw"},
    "mi50_expected_gpus": {"type": "int"},
    "mi50_engines": {"type": "list"},
    "mi50_container_engines": {"type": "list"},
    "mi50_models_catalog_dir": {"type": "path"},
    "mi50_serial": {"type": "raw"},
    "mi50_max_fail_percentage": {"type": "int"},
    # Meant for the command line, where every value is text; the playbook converts it.
    "mi50_take_lock": {"type": "bool", "text_allowed": True},
    "mi50_uninstall": {"type": "bool", "text_allowed": True},
    "mi50_uninstall_data": {"type": "bool", "text_allowed": True},
    "mi50_keep_packages": {"type": "list"},
    "mi50_rollback": {"type": "str"},
    "mi50_lock": {"type": "bool", "text_allowed": True},
    "mi50_lock_artifacts": {"type": "list"},
    "mi50_lock_models": {"type": "list"},
    "mi50_lock_cache": {"type": "path"},
    "mi50_lock_keyring": {"type": "path"},
    "mi50_url_radeon": {"type": "str"},
    "mi50_url_arch_archive": {"type": "str"},
    "mi50_url_pytorch": {"type": "str"},
    "mi50_url_github": {"type": "str"},
    "mi50_url_lmstudio": {"type": "str"},
    "mi50_url_huggingface": {"type": "str"},
    "mi50_url_modelscope": {"type": "str"},
    "mi50_url_pypi": {"type": "str"},
    "mi50_url_triton": {"type": "str"},
    "mi50_registry_docker": {"type": "str"},
    "mi50_registry_ghcr": {"type": "str"},
}
BASE_PREFIXES = ("mi50_url_", "mi50_registry_")
_SET_FACT = "ansible.builtin.set_fact"


@functools.cache
def role_variables(roles_dir: Path) -> dict[str, dict[str, Any]]:
    """Return name -> specification of every option of every entry point of every role."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(roles_dir.glob("*/meta/argument_specs.yml")):
        specs = (read_yaml(path) or {}).get("argument_specs", {})
        for entry_point in specs.values():
            found.update(entry_point.get("options") or {})
    return found


@functools.cache
def role_templates(roles_dir: Path) -> dict[str, str]:
    """Return name -> text of the roles' defaults that are computed from the shared settings."""
    found: dict[str, str] = {}
    for path in sorted(roles_dir.glob("*/defaults/main.yml")):
        defaults = read_yaml(path) or {}
        found.update({name: text for name, text in defaults.items() if isinstance(text, str) and "{{" in text})
    return found


@functools.cache
def computed_variables(roles_dir: Path) -> frozenset[str]:
    """Return the names in the roles' own vars."""
    paths = sorted(roles_dir.glob("*/vars/main.yml"))
    return frozenset(name for path in paths for name in read_yaml(path) or {})


def read_once(roles_dir: Path) -> None:
    """Read the roles' files now. For a process that forks: each of its children would read them for itself.

    Raises StackError for a file that cannot be read; so does every function here.
    """
    role_variables(roles_dir)
    role_templates(roles_dir)
    computed_variables(roles_dir)


def exported_variables(roles_dir: Path, names: Iterable[str]) -> set[str]:
    """Return those of `names` that roles work out themselves: set by nobody, but seen among the variables of a play."""
    wanted = set(names)
    found = wanted & computed_variables(roles_dir)
    if found == wanted:
        return found
    # What a role has set in this very run, before a second preflight.
    for path in sorted(roles_dir.glob("*/tasks/*.yml")):
        for _where, mapping in walk_mappings(read_yaml(path)):
            facts = mapping.get(_SET_FACT)
            found |= wanted & {*(facts if isinstance(facts, dict) else ()), mapping.get("register")}
    return found


def prefixes(roles_dir: Path) -> tuple[str, ...]:
    """Return the prefixes this project claims: `mi50_` and one for each role."""
    return ("mi50_", *sorted(f"{path.name}_" for path in roles_dir.iterdir() if (path / "meta").is_dir()))
