"""Recipes: the stacks' own, an inventory's changes to them, and what is wrong with others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from mi50.build.recipe import RecipeError, asked, resolve
from mi50.stack.api import get_stack
from mi50.stack.load import StackError, load_stack

ROOT = Path(__file__).resolve().parents[3]
PATCHES = ROOT / "stacks" / "patches"


def stack(name: str = "rocm-6.4.3") -> dict[str, Any]:
    return get_stack(name, ROOT / "stacks", None, {})


@pytest.mark.parametrize("name", ["rocm-6.3.3", "rocm-6.4.3"])
def test_triton_of_every_stack(name: str) -> None:
    found = resolve(stack(name), "triton", {}, PATCHES)
    pins = stack(name)
    assert found.version == pins["python"]["triton"]
    assert found.job["source"]["commit"] == pins["artifacts"]["triton-gfx906"]["commit"]
    # setup.py of the fork: any other branch puts the commit into the version, which would not be the pinned one.
    assert found.job["source"]["branch"].startswith("release")
    assert found.job["environment"]["TRITON_WHEEL_VERSION_SUFFIX"] == "+gfx906"
    assert all("==" in line for line in found.job["requirements"])
    assert found.parts["torch"] == pins["python"]["torch"]
    assert found.unlocked == ["llvm"]
    assert asked(found, "abc")["pin"] == "abc"


def test_an_address_is_no_part_of_the_key() -> None:
    there = get_stack("rocm-6.4.3", ROOT / "stacks", None, {"mi50_url_github": "http://mirror/github"})
    assert resolve(there, "triton", {}, PATCHES).parts == resolve(stack(), "triton", {}, PATCHES).parts


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"commit": "b" * 40}, "source"),
        ({"requirements": ["cmake==3.30.0"]}, "requirements"),
        ({"environment": {"A": "{out}"}}, "environment"),
        ({"commands": [["make", "-j{jobs}"]]}, "commands"),
        ({"tests": []}, "commands"),
        ({"branch": "main"}, "commands"),
        ({"downloads": []}, "downloads"),
    ],
    ids=["commit", "requirements", "environment", "commands", "tests", "branch", "downloads"],
)
def test_what_shapes_the_bytes_is_part_of_the_key(change: dict[str, Any], part: str) -> None:
    plain, changed = (resolve(stack(), "triton", one, PATCHES).parts for one in ({}, change))
    assert {name for name in plain if plain[name] != changed[name]} == {part}


@pytest.mark.parametrize("change", [{"job_mib": 1}, {"disk_gib": 1}, {"timeout_minutes": 1}, {"packages": []}])
def test_what_does_not_is_none(change: dict[str, Any]) -> None:
    assert resolve(stack(), "triton", change, PATCHES).parts == resolve(stack(), "triton", {}, PATCHES).parts


def test_patches_count_by_content(tmp_path: Path) -> None:
    (tmp_path / "fix.patch").write_text("one")
    first = resolve(stack(), "triton", {"patches": ["fix.patch"]}, tmp_path)
    (tmp_path / "fix.patch").write_text("two")
    second = resolve(stack(), "triton", {"patches": ["fix.patch"]}, tmp_path)
    assert first.job["patches"] == [{"name": "fix.patch", "text": "one"}]
    assert first.parts["patches"] != second.parts["patches"]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("tritn", {}, ["build_once_builds", "'tritn'", "it has: triton"]),
        ("triton", {"comit": "x"}, ["build_once_overrides: triton: 'comit'", "did you mean 'commit'"]),
        ("triton", {"commit": "v3.5.0"}, ["'v3.5.0'", "all 40 hexadecimal digits", "triton-gfx906"]),
        ("triton", {"environment": {"A": 1}}, ["1 in environment", "quote it"]),
        ("triton", {"environment": {"A": "{home}"}}, ["'{home}'", "{python}"]),
        ("triton", {"commands": [["sh", "-c", "x{"]]}, ["'x{'"]),
        ("triton", {"tests": [["{python}", "-c", "assert {1}"]]}, ["assert {1}", "{python}"]),
        ("triton", {"tests": [["{source}/x"]]}, ["'{source}/x'", "{python}"]),
        ("triton", {"patches": ["none.patch"]}, ["none.patch", "cannot be read"]),
        ("triton", {"indexes": ["nowhere"]}, ["no artifact 'nowhere'"]),
        ("triton", "v4", ["'v4' is not a mapping"]),
    ],
    ids=["build", "field", "commit", "number", "placeholder", "brace", "set", "test", "patch", "index", "no mapping"],
)
def test_bad_recipes(name: str, change: Any, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        resolve(stack(), name, change, PATCHES)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["triton", "vllm", "lmdeploy"])
def test_every_recipe_of_the_stack_can_be_used(name: str) -> None:
    found = resolve(stack(), name, {}, PATCHES)
    assert found.version == (stack()["python"].get(name) or found.version)
    for command in found.job["tests"]:
        assert "{" not in "".join(word.format_map({"python": "/usr/bin/python3"}) for word in command)


def test_an_empty_base_is_named() -> None:
    there = get_stack("rocm-6.4.3", ROOT / "stacks", None, {"mi50_url_github": ""})
    with pytest.raises(RecipeError, match="mi50_url_github is empty"):
        resolve(there, "triton", {}, PATCHES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    artifact: triton-gfx906", "    artifact: triton-gfx907", ["builds.triton", "git", "'triton-gfx907'"]),
        ("      - artifact: triton-llvm", "      - artifact: triton-gfx906", ["builds.triton", "file"]),
        ("cmake==3.31.6", "cmake>=3.20", ["builds.0.requirements.0", "cmake>=3.20"]),
        ('requires_python: "3.10-3.14"', "requires_python: 3.1", ["requires_python", "quote it"]),
    ],
    ids=["artifact", "kind", "pin", "number"],
)
def test_a_stack_with_a_bad_recipe_is_refused(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    text = (ROOT / "stacks/rocm-6.4.3.yml").read_text()
    assert old in text
    (tmp_path / "rocm-6.4.3.yml").write_text(text.replace(old, new, 1))
    with pytest.raises(StackError) as caught:
        load_stack("rocm-6.4.3", tmp_path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_overrides_leave_the_stack_alone() -> None:
    one = stack()
    before = copy.deepcopy(one)
    resolve(one, "triton", {"commit": "b" * 40, "environment": {}}, PATCHES)
    assert one == before
