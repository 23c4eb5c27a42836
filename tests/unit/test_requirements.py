"""The pins of requirements.txt and the ranges of requirements.yml describe the same collections."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]


def installed_version(name: str) -> Version:
    """Version of a collection inside the installed `ansible` package."""
    import json

    import ansible_collections

    manifest = Path(next(iter(ansible_collections.__path__))).joinpath(*name.split("."), "MANIFEST.json")
    return Version(json.loads(manifest.read_text())["collection_info"]["version"])


@pytest.mark.parametrize("entry", COLLECTIONS, ids=lambda e: e["name"])
def test_installed_collection_is_within_the_range(entry: dict[str, str]) -> None:
    assert installed_version(entry["name"]) in SpecifierSet(entry["version"])


def test_every_collection_the_code_names_is_required() -> None:
    named = {
        ".".join(word.split(".")[:2])
        for path in [*ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("molecule/**/*.yml"), ROOT / "ansible.cfg"]
        for word in path.read_text().replace(":", " ").replace("=", " ").split()
        if word.startswith(("community.", "ansible.posix."))
    }
    assert named <= {entry["name"] for entry in COLLECTIONS}
