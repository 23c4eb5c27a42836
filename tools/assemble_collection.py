"""Lay the plugins out as a throw-away Ansible collection, so that `ansible-test` and `antsibull-docs` can read them.

    python -m tools.assemble_collection DIRECTORY

writes DIRECTORY/ansible_collections/mi50/aipc. The project itself stays a plain checkout: its modules import
`ansible.module_utils.mi50`, which is rewritten to the collection's own prefix here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE, NAME = "mi50", "aipc"
# The folder of the checkout and where a collection keeps the same kind of file.
PLUGIN_FOLDERS = {
    "library": "plugins/modules",
    "action_plugins": "plugins/action",
    "lookup_plugins": "plugins/lookup",
    "filter_plugins": "plugins/filter",
}
OLD_PREFIX = re.compile(r"\bansible\.module_utils\.mi50\b")
NEW_PREFIX = f"ansible_collections.{NAMESPACE}.{NAME}.plugins.module_utils.mi50"
RELEASE_LINE = re.compile(r"^## (\d+\.\d+\.\d+)\b", re.MULTILINE)


def release(changelog: str) -> str:
    """Newest released version that the change log names; 0.1.0 while there is none."""
    match = RELEASE_LINE.search(changelog)
    return match[1] if match else "0.1.0"


def rewrite(source: str, names: Collection[str] = ()) -> str:
    """Source of a plugin as it reads in the collection.

    Imports get the collection's prefix, and so do references to plugins `names` in documentation: M(x), P(x#lookup)
    and the modules of `seealso`, which have no prefix in the checkout and must have one in a collection.
    """
    source = OLD_PREFIX.sub(NEW_PREFIX, source)
    if not names:
        return source
    own = "|".join(sorted(names))
    reference = re.compile(rf"(\bM\(|\bP\(|^\s*- module: )({own})(?=[)#]|\s*$)", re.MULTILINE)
    return reference.sub(rf"\g<1>{NAMESPACE}.{NAME}.\g<2>", source)


def own_plugins(root: Path) -> set[str]:
    """Names of the modules and plugins of this repository."""
    return {path.stem for folder in PLUGIN_FOLDERS for path in (root / folder).glob("*.py")}


def _copy(files: Iterable[Path], source: Path, destination: Path, names: Collection[str] = ()) -> None:
    for path in files:
        target = destination / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(rewrite(path.read_text(encoding="utf-8"), names), encoding="utf-8")


def _write_yaml(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n" + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def assemble(root: Path, destination: Path) -> Path:
    """Write the collection and return its directory.

    Raises FileNotFoundError when the checkout has no module: checking an empty collection proves nothing.
    """
    names = own_plugins(root)
    if not any((root / "library").glob("*.py")):
        raise FileNotFoundError(f"no modules in {root / 'library'}")
    collection = destination / "ansible_collections" / NAMESPACE / NAME
    shutil.rmtree(collection, ignore_errors=True)
    for folder, target in PLUGIN_FOLDERS.items():
        # .yml: the documentation of an action plugin without a module stands beside the modules.
        files = [path for pattern in ("*.py", "*.yml") for path in sorted((root / folder).glob(pattern))]
        _copy(files, root / folder, collection / target, names)
    utils = root / "module_utils"
    _copy(sorted(utils.rglob("*.py")), utils, collection / "plugins" / "module_utils")
    _write_yaml(
        collection / "galaxy.yml",
        {
            "namespace": NAMESPACE,
            "name": NAME,
            "version": release((root / "CHANGELOG.md").read_text(encoding="utf-8")),
            "readme": "README.md",
            "authors": ["mi50-aipc contributors"],
            "description": "Modules of mi50-aipc, assembled for its tests",
            "license": ["GPL-3.0-or-later"],
        },
    )
    _write_yaml(collection / "meta" / "runtime.yml", {"requires_ansible": ">=2.19.0"})
    shutil.copy(root / "README.md", collection / "README.md")
    # The checks list files with git, and take the surrounding checkout's list when there is no repository here.
    subprocess.run(["git", "init", "--quiet", str(collection)], check=True)
    subprocess.run(["git", "-C", str(collection), "add", "--all"], check=True)
    return collection


def main(argv: list[str] | None = None) -> int:
    """Assemble the collection and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    print(assemble(ROOT, parser.parse_args(argv).directory.resolve()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
