"""The pins of requirements.txt and the ranges of requirements.yml describe the same collections."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import ansible_collections
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = {
    entry["name"]: SpecifierSet(entry["version"])
    for entry in yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
}
# What the two `ansible` packages of requirements.txt ship, read from their MANIFEST.json files. The one that is
# installed is compared with the files themselves below, on whichever Python the tests run.
SHIPPED = {
    "12.3.0": {"ansible.posix": "2.1.0", "community.docker": "4.8.5"},
    "14.5.0": {"ansible.posix": "2.2.2", "community.docker": "5.4.0"},
}
COLLECTION_NAME = re.compile(r"\b((?:ansible|community)\.[a-z]+)\.[a-z_]+")


def pinned() -> dict[str, Requirement]:
    """The `ansible` requirement that holds on each controller Python."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line.startswith("ansible==")]
    return {
        python: next(r for r in found if r.marker and r.marker.evaluate({"python_version": python}))
        for python in ("3.11", "3.12", "3.13")
    }


def installed_version(name: str) -> str:
    """Version of a collection inside the installed `ansible` package."""
    manifest = Path(next(iter(ansible_collections.__path__))).joinpath(*name.split("."), "MANIFEST.json")
    return str(json.loads(manifest.read_text())["collection_info"]["version"])


def named_collections() -> set[str]:
    """Collections that this repository uses, ansible-core's own excepted."""
    folders = ("roles", "playbooks", "molecule", ".config", "inventories")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.yml")] + [ROOT / "ansible.cfg"]
    named = {name for path in files for name in COLLECTION_NAME.findall(path.read_text())} - {"ansible.builtin"}
    # molecule's docker driver is made of this collection's modules; no playbook here names them.
    drivers = {yaml.safe_load(path.read_text())["driver"]["name"] for path in ROOT.glob(".config/molecule/config.yml")}
    return named | ({"community.docker"} if "docker" in drivers else set())


def test_each_python_gets_exactly_one_ansible() -> None:
    versions = {python: str(requirement.specifier) for python, requirement in pinned().items()}
    assert versions == {"3.11": "==12.3.0", "3.12": "==14.5.0", "3.13": "==14.5.0"}


def test_the_list_is_not_empty() -> None:
    assert COLLECTIONS


@pytest.mark.parametrize("release", SHIPPED)
@pytest.mark.parametrize("name", COLLECTIONS)
def test_both_releases_are_within_the_range(name: str, release: str) -> None:
    assert Version(SHIPPED[release][name]) in COLLECTIONS[name]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_the_installed_release_ships_what_this_file_says(name: str) -> None:
    release = str(pinned()["3.11" if sys.version_info < (3, 12) else "3.12"].specifier).lstrip("=")
    assert installed_version(name) == SHIPPED[release][name]


@pytest.mark.parametrize("name", COLLECTIONS)
def test_ranges_exclude_the_next_major_release(name: str) -> None:
    newest = max(Version(shipped[name]) for shipped in SHIPPED.values())
    assert Version(f"{newest.major + 1}.0.0") not in COLLECTIONS[name]


def test_every_collection_the_code_names_is_required_and_no_other() -> None:
    assert named_collections() == set(COLLECTIONS)


def test_the_search_finds_a_collection() -> None:
    assert COLLECTION_NAME.findall("callbacks_enabled = ansible.posix.profile_tasks") == ["ansible.posix"]
