"""Stacks: every wrong file ends in one message with place, value and way out; addresses and locks keep apart."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from mi50.stack.api import get_stack
from mi50.stack.load import StackError, known_stacks, load_stack, validate
from mi50.stack.lock import merge_lock, read_lock, record, unlocked
from mi50.stack.resolve import check_base, resolve

ROOT = Path(__file__).resolve().parents[3]
STACKS = ROOT / "stacks"
SCHEMA = json.loads((STACKS / "schema.json").read_text())
SHA = "ab" * 32


def raw(name: str = "rocm-6.4.3") -> dict[str, Any]:
    return yaml.safe_load((STACKS / f"{name}.yml").read_text())


@pytest.fixture
def stacks_dir(tmp_path: Path) -> Path:
    (tmp_path / "rocm-6.4.3.yml").write_text((STACKS / "rocm-6.4.3.yml").read_text())
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    """Rewrite the stack in a folder; keys are dotted places with __ for the dot."""
    data = raw()
    for place, value in changes.items():
        node: Any = data
        *parents, last = place.split("__")
        for part in parents:
            node = node[int(part)] if part.isdigit() else node[part]
        node[last] = value
    (folder / "rocm-6.4.3.yml").write_text(yaml.safe_dump(data))


def test_schema_is_a_valid_and_strict_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def closed(node: Any, where: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object" and not where.endswith("artifacts.items"):
                assert node.get("additionalProperties") is False, where
            for key, value in node.items():
                closed(value, f"{where}.{key}")
        elif isinstance(node, list):
            for value in node:
                closed(value, where)

    closed(SCHEMA, "")


@pytest.mark.parametrize("name", known_stacks(STACKS))
def test_shipped_stacks_are_valid_and_pin_what_is_known(name: str) -> None:
    stack = get_stack(name, STACKS, None, {})
    assert stack["rocm"]["key"]["fingerprint"] == "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
    assert {(p["id"], p["version"], p["suite"]) for p in stack["rocm"]["platforms"]} >= {("debian", "12", "jammy")}
    assert ("debian", "13") in {(r["id"], r["version"]) for r in stack["rocm"]["refused"]}
    assert all(a["url"] or a["path"] is None for a in stack["artifacts"].values())


def test_there_are_two_stacks_and_only_the_newer_needs_the_patch() -> None:
    assert known_stacks(STACKS) == ["rocm-6.3.3", "rocm-6.4.3"]
    assert raw()["gfx906_rocblas"]["needed"] is True
    assert raw("rocm-6.3.3")["gfx906_rocblas"]["needed"] is False


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("rocm-6.4.2", ["rocm-6.4.2", "did you mean 'rocm-6.4.3'", "rocm-6.3.3"]),
        ("cuda", ["cuda", "Known in", "rocm-6.4.3"]),
        ("../stacks/rocm-6.4.3", ["unknown stack"]),
    ],
)
def test_unknown_name_lists_the_known(asked: str, words: list[str]) -> None:
    with pytest.raises(StackError) as caught:
        load_stack(asked, STACKS)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rocm__key__fingerprint": "CA8B"}, ["rocm.key.fingerprint", '"CA8B"', "pin"]),
        ({"rocm__version": 6.4}, ["rocm.version", "6.4", "not of type"]),
        ({"rocm__platforms__0__kernels": []}, ["rocm.platforms.0.kernels"]),
        ({"colour": "red"}, ["colour", "unexpected"]),
        ({"artifacts__0__sha256": "ABCD"}, ["artifacts.0.sha256", "ABCD", "lower case"]),
        ({"artifacts__0__kind": "tarball"}, ["artifacts.0.kind", "tarball"]),
        ({"artifacts__0__url": "https://x"}, ["artifacts.0", "url"]),
        ({"artifacts__1__name": "rocblas-arch"}, ["rocblas-arch", "2 times"]),
        ({"artifacts__0__base": "mi50_url_nowhere"}, ["artifacts.0.base", "mi50_url_nowhere"]),
        ({"gfx906_rocblas__sources__arch__artifact": "nope"}, ["sources.arch.artifact", "nope"]),
        ({"name": "other"}, ["other", "file name"]),
        ({"bases__mi50_url_radeon": "repo.radeon.com"}, ["bases.mi50_url_radeon", "repo.radeon.com"]),
    ],
)
def test_wrong_stack_gets_one_clear_message(stacks_dir: Path, change: dict[str, Any], words: list[str]) -> None:
    edit(stacks_dir, **change)
    with pytest.raises(StackError) as caught:
        load_stack("rocm-6.4.3", stacks_dir)
    message = str(caught.value)
    assert str(stacks_dir / "rocm-6.4.3.yml") in message
    assert all(word in message for word in words), message


def test_broken_yaml_names_file_and_line(stacks_dir: Path) -> None:
    (stacks_dir / "rocm-6.4.3.yml").write_text("name: [\n")
    with pytest.raises(StackError, match=r"rocm-6\.4\.3\.yml: not valid YAML.*line 2"):
        load_stack("rocm-6.4.3", stacks_dir)


def test_cache_sees_a_changed_file_and_gives_private_copies(stacks_dir: Path) -> None:
    first = load_stack("rocm-6.4.3", stacks_dir)
    first["rocm"]["version"] = "changed by a caller"
    assert load_stack("rocm-6.4.3", stacks_dir)["rocm"]["version"] == "6.4.3"
    edit(stacks_dir, summary="another text")
    assert load_stack("rocm-6.4.3", stacks_dir)["summary"] == "another text"


def test_base_override_changes_addresses_only(stacks_dir: Path) -> None:
    plain = get_stack("rocm-6.4.3", stacks_dir, None, {})
    moved = get_stack("rocm-6.4.3", stacks_dir, None, {"mi50_url_arch_archive": "https://mirror.example/arch//"})
    artifact = moved["artifacts"]["rocblas-arch"]
    assert artifact["url"] == "https://mirror.example/arch/packages/r/rocblas/rocblas-6.4.3-3-x86_64.pkg.tar.zst"
    assert artifact["signature"]["url"] == artifact["url"] + ".sig"
    assert moved["rocm"]["key"] == plain["rocm"]["key"]

    def without_urls(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: without_urls(v) for k, v in node.items() if k not in ("url", "bases")}
        return node

    assert without_urls(moved) == without_urls(plain)


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        ("mi50_url_x", "https://m.example/a/", "https://m.example/a"),
        ("mi50_url_x", "http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("mi50_url_x", "file:///srv/mirror/", "file:///srv/mirror"),
        ("mi50_url_x", "", ""),
        ("mi50_registry_docker", "mirror.lan:5000/hub", "mirror.lan:5000/hub"),
    ],
)
def test_good_bases(name: str, value: str, result: str) -> None:
    assert check_base(name, value) == result


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mi50_url_x", "mirror.example"),
        ("mi50_url_x", "ftp://m"),
        ("mi50_url_x", "https://m:port"),
        ("mi50_url_x", "https://"),
        ("mi50_url_x", "https://m/?a=b"),
        ("mi50_url_x", "https://a b"),
        ("mi50_url_x", ["https://m"]),
        ("mi50_registry_docker", "https://mirror.lan"),
    ],
)
def test_bad_bases_are_refused_by_name_and_value(name: str, value: object) -> None:
    with pytest.raises(StackError, match=name) as caught:
        check_base(name, value)
    assert str(value) in str(caught.value)


def test_lock_supplies_nulls_and_is_stable(stacks_dir: Path) -> None:
    lock = stacks_dir / "rocm-6.4.3.lock.yml"
    entry = {"sha256": SHA, "size": 7, "url": "https://m/x", "date": "2026-11-22"}
    assert "rocblas-arch" in get_stack("rocm-6.4.3", stacks_dir, None, {})["unlocked"]
    assert record(lock, "rocm-6.4.3", "rocblas-arch", entry) is True
    before = lock.read_bytes()
    assert record(lock, "rocm-6.4.3", "rocblas-arch", {**entry, "date": "2027-01-01"}) is False
    assert lock.read_bytes() == before
    stack = get_stack("rocm-6.4.3", stacks_dir, None, {})
    assert stack["artifacts"]["rocblas-arch"]["sha256"] == SHA
    assert "rocblas-arch" not in stack["unlocked"]
    assert known_stacks(stacks_dir) == ["rocm-6.4.3"]


def test_lock_refuses_another_value(tmp_path: Path) -> None:
    lock = tmp_path / "l.yml"
    record(lock, "s", "a", {"sha256": SHA, "size": 7})
    before = lock.read_bytes()
    with pytest.raises(StackError, match=r"artifacts\.a\.sha256.*changed upstream"):
        record(lock, "s", "a", {"sha256": "cd" * 32, "size": 7, "url": "https://m/x"})
    assert lock.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["l.yml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stack: other\nartifacts: {}\n", ["another stack", "mi50_stack_lock_file"]),
        ("[]\n", ["not a lock file"]),
        ("stack: rocm-6.4.3\nartifacts: {rocblas-arch: {md5: x}}\n", ["unknown md5"]),
        ("stack: rocm-6.4.3\nartifacts: {gone: {size: 1}}\n", ["no such artifact"]),
        ("stack: rocm-6.4.3\nartifacts: {triton-gfx906: {commit: abc}}\n", ["contradicts", "triton-gfx906.commit"]),
        ("stack: rocm-6.4.3\nartifacts: {rocblas-arch: {path: old, size: 1}}\n", ["locked for 'old'"]),
    ],
)
def test_lock_that_does_not_fit_is_refused(stacks_dir: Path, text: str, words: list[str]) -> None:
    lock = stacks_dir / "some.lock.yml"
    lock.write_text(text)
    with pytest.raises(StackError) as caught:
        get_stack("rocm-6.4.3", stacks_dir, lock, {})
    assert all(word in str(caught.value) for word in [str(lock), *words]), str(caught.value)


def test_unlocked_ignores_what_has_no_identity() -> None:
    stack = resolve(copy.deepcopy(raw()), {})
    open_ones = unlocked(stack)
    assert {"lmstudio-llmster", "rocblas-arch", "torch-index", "triton-llvm", "vllm-image"} <= set(open_ones)
    # git has its commits.
    assert {stack["artifacts"][name]["kind"] for name in open_ones} == {"file", "image", "wheel-index"}
    release = stack["artifacts"]["llama-cpp-vulkan"]
    assert release["url"].endswith(f"/{release['version']}/llama-{release['version']}-bin-ubuntu-vulkan-x64.tar.gz")


def test_merge_keeps_what_the_stack_already_knows(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "missing.yml", "s") == {}
    assert merge_lock(raw(), {}, tmp_path) == raw()


def test_validate_reports_every_error_at_once() -> None:
    data = raw()
    data["summary"], data["rocm"]["build"] = "", "6"
    with pytest.raises(StackError) as caught:
        validate(data, SCHEMA, STACKS / "rocm-6.4.3.yml")
    assert "summary" in str(caught.value)
    assert "rocm.build" in str(caught.value)
