"""Rules of AGENTS.md that a machine can check, over every file of the checkout."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tools.role_docs import role_problems
from tools.testsuite.lint import tracked_files

ROOT = Path(__file__).resolve().parents[2]
FILES = [path.relative_to(ROOT) for path in tracked_files(ROOT)]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
YAML_FOLDERS = ("roles", "playbooks", "molecule", "inventories", "site.yml")
CODE = {".py", ".yml", ".yaml", ".sh", ".j2"}
# Text that is long by nature: a licence, tables, recorded data of other programs.
LENGTH_EXEMPT = ("LICENSE", "docs/", "README", "CHANGELOG.md", "tests/fixtures/", "stacks/")
MAX_LINES = 300
MAX_PLAYBOOK_LINES = 60
FORBIDDEN_MODULES = {"shell", "raw", "apt_key", "apt_repository"}
FORBIDDEN_KEYS = {"ignore_errors", "ignore_unreachable"}
ROLE_FILES = ("defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml", "README.md")
# What a machine's configuration may name and a stack may name as well: upstreams are no package registry.
PUBLIC = ("github.com", "localhost")
URL_HOST = re.compile(r"https?://(?:[^\s/@\"']*@)?([A-Za-z0-9.-]+)")


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def under(path: Path, *folders: str) -> bool:
    return any(path == Path(folder) or Path(folder) in path.parents for folder in folders)


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping at any depth of a YAML document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value)


class AnsibleLoader(yaml.SafeLoader):
    """Reads Ansible's own tags as plain values."""


AnsibleLoader.add_multi_constructor("!", lambda loader, _suffix, node: str(node.value))


def forbidden(source: str) -> list[str]:
    """Constructs of the avoid list in one YAML file."""
    found = []
    for mapping in mappings(list(yaml.load_all(source, AnsibleLoader))):
        names = {str(key).removeprefix("ansible.builtin.") for key in mapping}
        found += sorted(names & (FORBIDDEN_MODULES | FORBIDDEN_KEYS))
        found += [
            f"{key} state: latest"
            for key, value in mapping.items()
            if isinstance(value, dict) and value.get("state") == "latest"
        ]
    return found


def yaml_files() -> list[Path]:
    return [path for path in FILES if path.suffix == ".yml" and under(path, *YAML_FOLDERS)]


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in CODE or not p.suffix], ids=str)
def test_files_are_short(path: Path) -> None:
    if not str(path).startswith(LENGTH_EXEMPT):
        assert len(text(path).splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_playbooks_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < MAX_PLAYBOOK_LINES


@pytest.mark.parametrize("path", yaml_files(), ids=str)
def test_nothing_of_the_avoid_list(path: Path) -> None:
    assert forbidden(text(path)) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("- ansible.builtin.shell: ls", ["shell"]),
        ("- block:\n    - apt_key: {}\n", ["apt_key"]),
        ("- command: ls\n  ignore_errors: true\n", ["ignore_errors"]),
        ("- apt: {name: x, state: latest}", ["apt state: latest"]),
        ("- apt: {name: x, state: present}", []),
    ],
)
def test_the_avoid_list_is_recognised(source: str, words: list[str]) -> None:
    assert forbidden(source) == words


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_roles_are_complete(role: Path) -> None:
    assert [name for name in ROLE_FILES if not (role / name).is_file()] == []
    scenarios = [path.read_text() for path in (ROOT / "molecule").glob("*/*.yml")]
    assert any(role.name in scenario for scenario in scenarios), "no molecule scenario names this role"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_variables_are_documented(role: Path) -> None:
    assert role_problems(role) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_shared_settings_are_read_in_defaults_alone(role: Path) -> None:
    readers = [
        str(path.relative_to(ROOT))
        for folder in ("tasks", "templates", "handlers", "vars")
        for path in (role / folder).rglob("*")
        if path.is_file() and re.search(r"\bmi50_[a-z]\w*(?!\w*\s*:)", strip_module_names(path.read_text()))
    ]
    assert readers == []


def strip_module_names(source: str) -> str:
    """Text without what is no setting: comments, words in messages, the plugins and the group named mi50_…."""
    source = re.sub(r"'[^'\n]*'|^\s*#.*$", "", source, flags=re.MULTILINE)
    plugins = {path.stem for kind in ("library", "*_plugins") for path in ROOT.glob(f"{kind}/mi50_*.py")}
    return re.sub(r"\b(" + "|".join(sorted({*plugins, "mi50_nodes"})) + r")\b", "", source)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_roles_keep_to_their_own_variables(role: Path) -> None:
    others = [other for other in ROLES if other != role and not role.name.startswith(other.name)]
    for path in [p for p in role.rglob("*") if p.suffix in {".yml", ".j2"} and p.parent.name != "meta"]:
        for other in others:
            variables = yaml.safe_load((other / "defaults" / "main.yml").read_text()) or {}
            # A role that includes another gives it its inputs; that is no reading.
            given = inputs_of(path, other.name)
            used = [
                name
                for name in variables
                if re.search(rf"\b{name}\b(?!:)" if name in given else rf"\b{name}\b", path.read_text())
            ]
            assert used == [], f"{path.relative_to(ROOT)} reads variables of {other.name}"


def inputs_of(path: Path, role: str) -> set[str]:
    """Names that tasks of a file set for a role they include."""
    found: set[str] = set()
    for task in mappings(list(yaml.load_all(path.read_text(), AnsibleLoader))) if path.suffix == ".yml" else []:
        called = task.get("ansible.builtin.include_role") or task.get("ansible.builtin.import_role") or {}
        if called.get("name") == role:
            found |= set(task.get("vars", {}))
    return found


def test_stand_ins_live_in_the_lab() -> None:
    assert [p for p in FILES if p.name.startswith("standin") and not under(p, "lab", "tests")] == []


@pytest.mark.parametrize("path", [p for p in FILES if p.name.startswith("standin_")], ids=str)
def test_stand_ins_say_what_they_replace(path: Path) -> None:
    first = "\n".join(text(path).splitlines()[:15]).lower()
    assert "stand-in" in first or "stands in" in first
    assert "not prove" in first


def test_nothing_that_ships_knows_the_lab() -> None:
    shipped = ("roles", "library", "module_utils", "action_plugins", "lookup_plugins", "playbooks", "stacks")
    importing = re.compile(r"^\s*(?:from|import) lab\b|\bmi50-lab\b|\bMI50_LAB_", re.MULTILINE)
    assert [str(p) for p in FILES if under(p, *shipped) and importing.search(text(p))] == []


def configured_hosts() -> set[str]:
    """Hosts of the package registries that this machine is configured to use, and nobody else's business."""
    files = [
        Path("/etc/apt/sources.list"),
        *Path("/etc/apt").glob("sources.list.d/*"),
        *Path("/etc/apt").glob("apt.conf.d/*"),
    ]
    files += [
        Path("/etc/pip.conf"),
        *(Path.home() / name for name in (".config/pip/pip.conf", ".pip/pip.conf", ".npmrc")),
    ]
    contents = [path.read_text(errors="replace") for path in files if path.is_file() and os.access(path, os.R_OK)]
    contents += [
        value for key, value in os.environ.items() if re.match(r"(PIP|NPM_CONFIG|UV)_|https?_proxy", key, re.I)
    ]
    hosts = {host.lower() for content in contents for host in URL_HOST.findall(content)}
    return {host for host in hosts if "." in host and not host.endswith(PUBLIC)}


def test_no_registry_of_this_machine_is_named() -> None:
    hosts = configured_hosts()
    naming = [str(p) for p in FILES if (content := text(p).lower()) and any(host in content for host in hosts)]
    assert naming == []


def test_no_path_of_a_developer_is_named() -> None:
    private = [f"{ROOT}/", f"{Path.home()}/"]
    assert [str(p) for p in FILES if any(path in text(p) for path in private)] == []


def without_prose(source: str) -> str:
    """Source without comments and without the documentation blocks of a module."""
    blocks = r'^(?:DOCUMENTATION|EXAMPLES|RETURN) = r?""".*?"""'
    return re.sub(r"^\s*#.*$", "", re.sub(blocks, "", source, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE)


def test_upstream_addresses_live_in_the_stacks() -> None:
    bases: dict[str, str] = {}
    for path in (ROOT / "stacks").glob("*.yml"):
        bases |= (yaml.safe_load(path.read_text()) or {}).get("bases", {})
    # github.com is also where the project and its anchors live; comments may cite it.
    hosts = {urlsplit(url).hostname for url in bases.values() if url.startswith("http")} - {"github.com"}
    assert hosts
    shipped = ("roles", "library", "module_utils", "action_plugins", "lookup_plugins", "playbooks")
    named = [
        f"{p}: {host}"
        for p in FILES
        if under(p, *shipped) and p.suffix in {".py", ".yml", ".j2"} and "argument_specs" not in p.name
        for host in hosts
        if f"://{host}" in without_prose(text(p))
    ]
    assert named == []


COMMAND = re.compile(r"(?<![\w./-])(script/[a-z]+|playbooks/[a-z_]+\.yml|tools[./][a-z_]+(?:\.py)?)")
DOCUMENTS = [p for p in FILES if p.suffix == ".md" and p.parts[0] in {"README.md", "README.zh-CN.md", "docs"}]


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_commands_in_documents_exist(path: Path) -> None:
    for line in text(path).splitlines():
        if "planned" in line.lower() or "计划" in line:
            continue
        for name in COMMAND.findall(line):
            target = ROOT / name.replace("tools.", "tools/")
            assert target.exists() or target.with_suffix(".py").exists(), f"{path} names {name}"
            if name.startswith("script/"):
                assert os.access(target, os.X_OK)


LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".md"], ids=str)
def test_links_in_documents_lead_somewhere(path: Path) -> None:
    assert [link for link in LINK.findall(text(path)) if not (ROOT / path.parent / link).exists()] == []


def test_both_readmes_give_the_same_commands() -> None:
    blocks = [
        re.findall(r"```(?:sh|console)\n(.*?)```", text(Path(name)), re.DOTALL)
        for name in ("README.md", "README.zh-CN.md")
    ]
    commands = [[re.sub(r"\s*#.*", "", line) for block in group for line in block.splitlines()] for group in blocks]
    assert commands[0]
    assert commands[0] == commands[1]


def test_ansible_ini_has_no_warning_switched_off() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "ansible.cfg")
    assert config.getboolean("defaults", "host_key_checking")
    assert config.getboolean("defaults", "deprecation_warnings")
