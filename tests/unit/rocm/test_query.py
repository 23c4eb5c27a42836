"""The settings of the role rocm and a stack become what the node is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from mi50.rocm import question
from mi50.rocm.query import FIXED, SETTINGS, query
from mi50.stack.api import get_stack

ROLE = Path(__file__).resolve().parents[3] / "roles/rocm"
STACK = get_stack("rocm-6.4.3", ROLE.parents[1] / "stacks", Path("/nonexistent.lock.yml"), {})["rocm"]


@pytest.fixture
def given() -> dict[str, Any]:
    """The role's own values, templates of shared settings replaced by what they give when nothing is set."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    fixed = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    trees = {"cache_dir": "/var/cache/x", "sysfs_root": "/sys", "proc_root": "/proc", "dev_root": "/dev"}
    settings = {name: defaults[f"rocm_{name}"] for name in SETTINGS}
    return {**settings, **trees, **{name: fixed[f"__rocm_{name}"] for name in FIXED}}


def test_the_module_takes_it(given: dict[str, Any]) -> None:
    checked = ArgumentSpecValidator(question.SPEC).validate(query(STACK, given))
    assert not checked.error_messages
    assert not checked.unsupported_parameters


def test_stack_supplies_what_is_not_set(given: dict[str, Any]) -> None:
    asked = query(STACK, given)
    assert asked["packages"] == ["rocm"]
    assert asked["source"]["fingerprints"] == [STACK["key"]["fingerprint"]]
    assert asked["source"]["uri"] == asked["uris"][0] == STACK["apt"]["userspace"]["url"]
    runtime = query(STACK, {**given, "package_set": "runtime", "apt_key_fingerprint": "AB"})
    assert "rocminfo" in runtime["packages"]
    assert runtime["source"]["fingerprints"] == ["AB"]
    assert query(STACK, {**given, "packages": ["rocblas"]})["packages"] == ["rocblas"]


def test_files_are_filled_in(given: dict[str, Any]) -> None:
    texts = {item["path"]: item["content"] for item in query(STACK, given)["source"]["files"]}
    assert "Pin: release o=repo.radeon.com\nPin-Priority: 600\n" in texts["/etc/apt/preferences.d/mi50-rocm"]
    assert "/opt/rocm-6.4.3/lib64\n" in texts["/etc/ld.so.conf.d/mi50-rocm.conf"]
    assert "@" not in "".join(texts.values())
    assert "@VERSION@" in "".join(item["content"] for item in given["texts"]), "the role's own texts were changed"
