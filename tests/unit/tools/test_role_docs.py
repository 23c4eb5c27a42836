"""tools/role_docs.py: what counts as drift, and what the tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import role_docs

README = "# demo\n\n<!-- variables:begin -->\n<!-- variables:end -->\n"
ARCHITECTURE = "# Architecture\n\n<!-- modules:begin -->\n<!-- modules:end -->\n"


def write_role(root: Path, defaults: dict[str, Any], options: dict[str, Any], readme: str = README) -> Path:
    role = root / "roles" / "demo"
    for name, content in (
        ("defaults/main.yml", yaml.safe_dump(defaults)),
        (
            "meta/argument_specs.yml",
            yaml.safe_dump({"argument_specs": {"main": {"options": options}}}, sort_keys=False),
        ),
        ("README.md", readme),
    ):
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text(content)
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "architecture.md").write_text(ARCHITECTURE)
    return role


def option(default: object = role_docs.ABSENT, **more: object) -> dict[str, Any]:
    given = {} if default is role_docs.ABSENT else {"default": default}
    return {"type": "str", "description": "What it is.", **given, **more}


def problems(root: Path, default: object, spec: dict[str, Any]) -> list[str]:
    defaults = {} if default is role_docs.ABSENT else {"demo_x": default}
    return role_docs.role_problems(write_role(root, defaults, {"demo_x": spec}))


@pytest.mark.parametrize(
    ("default", "spec"),
    [
        ("a", option("a")),
        (False, option(False, type="bool")),
        ("{{ mi50_stack }}", option()),
        ({"deep": ["{{ mi50_stack }}"]}, option(type="dict")),
        (None, option()),
        (role_docs.ABSENT, option(required=True)),
    ],
)
def test_in_step(tmp_path: Path, default: object, spec: dict[str, Any]) -> None:
    assert problems(tmp_path, default, spec) == []


@pytest.mark.parametrize(
    ("default", "spec", "words"),
    [
        ("a", option("b"), "argument_specs says 'b'"),
        (True, option(1, type="bool"), "argument_specs says 1"),
        ("a", option(), "missing from argument_specs"),
        ("{{ mi50_stack }}", option("rocm"), "templated"),
        (None, option("b"), "argument_specs says 'b'"),
        (role_docs.ABSENT, option(), "not in defaults"),
        ("a", option(required=True), "required, yet"),
        ("a", {"type": "str", "default": "a"}, "no description"),
        ("a", {"description": "x", "default": "a"}, "no type"),
    ],
)
def test_out_of_step(tmp_path: Path, default: object, spec: dict[str, Any], words: str) -> None:
    found = problems(tmp_path, default, spec)
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith("roles/demo: demo_x ")


def test_undocumented_and_badly_named(tmp_path: Path) -> None:
    role = write_role(tmp_path, {"demo_new": 1, "other": 2}, {"other": option(2, type="int")})
    assert role_docs.role_problems(role) == [
        "roles/demo: other is not named demo_…",
        "roles/demo: demo_new is in defaults, not in argument_specs",
    ]


def test_table(tmp_path: Path) -> None:
    role = write_role(
        tmp_path,
        {"demo_mode": "a", "demo_list": [], "demo_stack": "{{ mi50_stack | default('x') }}"},
        {
            "demo_mode": option("a", choices=["a", "b"], description=["First.", "V(b) is slow;\n see O(demo_list)."]),
            "demo_list": option([], type="list", elements="int"),
            "demo_stack": option(),
            "demo_key": option(required=True),
        },
    )
    assert role_docs.variables_table(role).splitlines()[2:] == [
        "| `demo_mode` | str: `a`, `b` | `a` | First. `b` is slow; see `demo_list`. |",
        "| `demo_list` | list of int | `[]` | What it is. |",
        r"| `demo_stack` | str | `{{ mi50_stack \| default('x') }}` | What it is. |",
        "| `demo_key` | str | required | What it is. |",
    ]


def test_empty_text_is_visible() -> None:
    assert role_docs.value_cell("") == '`""`'


def test_check_changes_nothing_and_shows_the_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = write_role(tmp_path, {"demo_x": "a"}, {"demo_x": option("a")})
    assert role_docs.run(tmp_path, check=True) == 1
    assert "+| `demo_x` | str | `a` | What it is. |" in capsys.readouterr().out
    assert (role / "README.md").read_text() == README
    assert role_docs.run(tmp_path, check=False) == 0
    assert role_docs.run(tmp_path, check=True) == 0
    (role / "README.md").write_text((role / "README.md").read_text().replace("What", "how"))
    assert role_docs.run(tmp_path, check=True) == 1


@pytest.mark.parametrize("readme", ["# no markers\n", README + README])
def test_markers_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], readme: str) -> None:
    write_role(tmp_path, {}, {}, readme)
    assert role_docs.run(tmp_path, check=False) == 1
    assert "<!-- variables:begin -->" in capsys.readouterr().out


def test_a_role_without_specification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = write_role(tmp_path, {}, {})
    (role / "meta" / "argument_specs.yml").unlink()
    assert role_docs.run(tmp_path, check=True) == 1
    assert "argument_specs.yml: missing" in capsys.readouterr().out


def test_modules_table(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "card_info.py").write_text(
        'DOCUMENTATION = r"""\nmodule: card_info\nshort_description: Reads V(sysfs)\n'
        'attributes: {diff_mode: {support: none}}\n"""\nimport no_such_module\n'
    )
    assert role_docs.modules_table(tmp_path).splitlines()[2] == "| `card_info` | Reads `sysfs` | reads only |"
