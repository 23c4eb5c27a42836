"""Layer 1: typos, types, addresses, proxies, stacks and hosts, without a connection."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mi50.preflight.inventory import HostEntry, Inventory, check_inventory
from mi50.preflight.known import SHARED, exported_variables, prefixes, role_variables
from mi50.preflight.model import FAIL, OK, SKIP, WARN, Check, mask_url

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {
    **SHARED,
    "rocm_kernel_driver": {"type": "str", "choices": ["auto", "inbox", "dkms"]},
    "rocm_verify": {"type": "bool"},
    "rocm_extra_packages": {"type": "list"},
}


def checks(folder: Path = ROOT / "stacks", **variables: Any) -> dict[str, Check]:
    given = {"mi50_stack": "rocm-6.4.3", **variables}
    inventory = Inventory("n1", given, {}, ("mi50_nodes",), (HostEntry("n1", "10.0.0.1", "", ""),))
    return {check.id: check for check in check_inventory(inventory, KNOWN, folder)}


def test_plain_inventory_is_fine() -> None:
    assert {c.id: c.found for c in checks().values() if c.status not in (OK, WARN)} == {}


@pytest.mark.parametrize(
    ("variables", "check_id", "words"),
    [
        ({"mi50_stak": "x"}, "inventory.variables", ["mi50_stak", "mi50_stack?"]),
        ({"rocm_kernel_drivr": "auto"}, "inventory.variables", ["rocm_kernel_driver?"]),
        ({"mi50_zzz": 1}, "inventory.variables", ["unknown variable mi50_zzz"]),
        ({"mi50_reboot": "maybe"}, "inventory.types", ["mi50_reboot", "'maybe'", "never, ask, auto"]),
        ({"mi50_reboot": False}, "inventory.types", ["mi50_reboot", "False"]),
        ({"rocm_verify": "true"}, "inventory.types", ["rocm_verify", "text, not true or false"]),
        ({"rocm_verify": 1}, "inventory.types", ["rocm_verify", "bool"]),
        ({"rocm_kernel_driver": "DKMS"}, "inventory.types", ["auto, inbox, dkms"]),
        ({"rocm_extra_packages": "vim"}, "inventory.types", ["list"]),
        ({"mi50_expected_gpus": "two"}, "inventory.types", ["mi50_expected_gpus", "int"]),
        ({"mi50_expected_gpus": True}, "inventory.types", ["mi50_expected_gpus"]),
        ({"mi50_url_radeon": "mirror.example"}, "inventory.urls", ["mi50_url_radeon", "https://"]),
        ({"mi50_url_radeon": "https://u:pw@m.example"}, "inventory.urls", ["password", "***@"]),
        ({"mi50_registry_docker": "https://m"}, "inventory.urls", ["without a scheme"]),
        ({"mi50_http_proxy": "proxy:3128"}, "inventory.proxy", ["mi50_http_proxy"]),
        ({"mi50_https_proxy": "http://p:x"}, "inventory.proxy", ["mi50_https_proxy"]),
        ({"mi50_http_proxy": "u:pw@p:3128"}, "inventory.proxy", ["***@p:3128"]),
        ({"mi50_no_proxy": ["a"]}, "inventory.proxy", ["mi50_no_proxy"]),
        ({"mi50_stack": "rocm-9"}, "inventory.stack", ["rocm-9", "rocm-6.4.3"]),
        ({"mi50_stack": None}, "inventory.stack", ["unknown stack"]),
    ],
)
def test_wrong_setting(variables: dict[str, Any], check_id: str, words: list[str]) -> None:
    found = checks(**variables)
    check = found[check_id]
    assert check.status == FAIL
    assert check.remedy
    assert all(word in check.found for word in words), check.found
    assert "pw" not in check.found
    others = {c.id for c in found.values() if c.status == FAIL} - {check_id}
    assert others <= {"inventory.types"}, "one mistake, one complaint (a wrong type may add its own)"


@pytest.mark.parametrize(
    "variables",
    [
        {"mi50_lock": "true"},
        {"mi50_expected_gpus": "2"},
        {"mi50_expected_gpus": None},
        {"mi50_url_pypi": ""},
        {"mi50_http_proxy": "http://u:p@proxy.example:3128", "mi50_no_proxy": "a,.b"},
    ],
)
def test_right_settings(variables: dict[str, Any]) -> None:
    assert [c for c in checks(**variables).values() if c.status == FAIL] == []


def test_several_mistakes_are_all_reported_at_once() -> None:
    found = checks(mi50_stak="x", mi50_urlradeon="y", mi50_reboot="z", mi50_http_proxy="p")
    assert "mi50_stak" in found["inventory.variables"].found
    assert "mi50_urlradeon" in found["inventory.variables"].found
    assert {c.id for c in found.values() if c.status == FAIL} == {
        "inventory.variables",
        "inventory.types",
        "inventory.proxy",
    }


def test_broken_lock_and_missing_lock(tmp_path: Path) -> None:
    folder = tmp_path / "stacks"
    shutil.copytree(ROOT / "stacks", folder)
    assert checks(folder)["stack.lock"].status == WARN
    assert "rocblas-arch" in checks(folder)["stack.lock"].found
    (tmp_path / "my.lock.yml").write_text("stack: rocm-6.4.3\nartifacts: {triton-gfx906: {commit: abc}}\n")
    found = checks(folder, mi50_stack_lock_file="my.lock.yml")
    assert found["stack.lock"].status == FAIL
    assert "contradicts" in found["stack.lock"].found
    assert checks(folder, mi50_stack="nope")["stack.lock"].status == SKIP


def hosts(*entries: tuple[str, str, str, str], groups: tuple[str, ...] = ("mi50_nodes",)) -> Check:
    inventory = Inventory("n1", {"mi50_stack": "rocm-6.4.3"}, {}, groups, tuple(HostEntry(*e) for e in entries))
    return next(c for c in check_inventory(inventory, KNOWN, ROOT / "stacks") if c.id == "inventory.hosts")


def test_one_machine_under_two_names() -> None:
    assert hosts(("a", "10.0.0.1", "", ""), ("b", "10.0.0.2", "", "")).status == OK
    assert hosts(("a", "127.0.0.1", "2201", ""), ("b", "127.0.0.1", "2202", "")).status == OK
    same = hosts(("a", "10.0.0.1", "", ""), ("b", "10.0.0.1", "", ""))
    assert same.status == FAIL
    assert "a and b" in same.found
    assert hosts(("a", "a", "", "local"), ("b", "b", "", "local")).status == FAIL
    assert "mi50_nodes" in hosts(("a", "a", "", ""), groups=("others",)).found


def test_variables_of_the_real_roles_are_known() -> None:
    known = role_variables(ROOT / "roles")
    assert "preflight_min_free_gib" in known
    assert "preflight_" in prefixes(ROOT / "roles")
    assert prefixes(ROOT / "roles")[0] == "mi50_"


def test_what_roles_export_is_known(tmp_path: Path) -> None:
    (tmp_path / "rocm/tasks").mkdir(parents=True)
    (tmp_path / "rocm/tasks/main.yml").write_text(
        "- block:\n    - ansible.builtin.set_fact:\n        rocm_reboot_required: true\n- ansible.builtin.ping:\n"
    )
    (tmp_path / "rocm/vars").mkdir()
    (tmp_path / "rocm/vars/main.yml").write_text("rocm_question: {}\n")
    assert exported_variables(tmp_path, ["rocm_reboot_required", "rocm_typo"]) == {"rocm_reboot_required"}
    assert exported_variables(tmp_path, ["rocm_question"]) == {"rocm_question"}
    assert exported_variables(ROOT / "roles", ["preflight_seen", "rocm_driver_mode", "x"]) == {
        "preflight_seen",
        "rocm_driver_mode",
    }


def test_every_shared_setting_in_use_is_known() -> None:
    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/defaults/main.yml")]
    used = {name for path in files for name in re.findall(r"\bmi50_[a-z0-9_]+", path.read_text())}
    groups = {"mi50_nodes", "mi50_mirror", "mi50_monitoring", "mi50_gateway", "mi50_scrape"}  # and a plugin
    assert used - groups - {"mi50_url_"} <= set(SHARED), "add it to SHARED in module_utils/mi50/preflight/known.py"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://u:p@h:1/x", "http://***@h:1/x"),
        ("u:p@h", "***@h"),
        ("mi50_x: 'https://u:p@h' is wrong", "mi50_x: 'https://***@h' is wrong"),
        ("http://h/a@b", "http://h/a@b"),
    ],
)
def test_passwords_are_masked(text: str, masked: str) -> None:
    assert mask_url(text) == masked
