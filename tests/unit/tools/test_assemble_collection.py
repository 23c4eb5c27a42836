"""tools/assemble_collection.py: the throw-away collection."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tools import assemble_collection


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, text in {
        "library/card_info.py": (
            "from ansible.module_utils.basic import X\nfrom ansible.module_utils.mi50.gpu import Y\n"
        ),
        "lookup_plugins/stack.py": "import ansible.module_utils.mi50.stack\n",
        "module_utils/mi50/__init__.py": "",
        "module_utils/mi50/gpu/sysfs.py": "from ..text import Z\n",
        "README.md": "# x\n",
        "CHANGELOG.md": "# Changes\n\n## Unreleased\n\n## 1.2.3 (2026-11-22)\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_layout_and_prefix(checkout: Path, tmp_path: Path) -> None:
    collection = assemble_collection.assemble(checkout, tmp_path / "out")
    assert collection == tmp_path / "out/ansible_collections/mi50/aipc"
    assert (collection / "plugins/modules/card_info.py").read_text() == (
        "from ansible.module_utils.basic import X\n"
        "from ansible_collections.mi50.aipc.plugins.module_utils.mi50.gpu import Y\n"
    )
    lookup = (collection / "plugins/lookup/stack.py").read_text()
    assert "ansible_collections.mi50.aipc.plugins.module_utils.mi50.stack" in lookup
    assert (collection / "plugins/module_utils/mi50/gpu/sysfs.py").is_file()
    galaxy = yaml.safe_load((collection / "galaxy.yml").read_text())
    assert (galaxy["namespace"], galaxy["name"], galaxy["version"]) == ("mi50", "aipc", "1.2.3")


def test_references_get_the_name_of_the_collection() -> None:
    source = (
        "module: card_info\n  - M(card_info), not M(card_info2); P(stack#lookup)\nseealso:\n  - module: card_info\n"
    )
    assert assemble_collection.rewrite(source, {"card_info", "stack"}) == (
        "module: card_info\n  - M(mi50.aipc.card_info), not M(card_info2); P(mi50.aipc.stack#lookup)\n"
        "seealso:\n  - module: mi50.aipc.card_info\n"
    )


def test_files_of_an_earlier_run_are_gone(checkout: Path, tmp_path: Path) -> None:
    collection = assemble_collection.assemble(checkout, tmp_path)
    (collection / "plugins/modules/removed.py").touch()
    assemble_collection.assemble(checkout, tmp_path)
    assert not (collection / "plugins/modules/removed.py").exists()


def test_nothing_to_check_is_an_error(checkout: Path, tmp_path: Path) -> None:
    (checkout / "library/card_info.py").unlink()
    with pytest.raises(FileNotFoundError, match="library"):
        assemble_collection.assemble(checkout, tmp_path)


def test_before_the_first_release() -> None:
    assert assemble_collection.release("## Unreleased\n") == "0.1.0"
