"""docs/troubleshooting.md explains every id that a check can report, and none that no check has: both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *sorted((ROOT / "module_utils/mi50/preflight").glob("*.py")),
    *sorted((ROOT / "module_utils/mi50/verify").glob("*.py")),
    *sorted((ROOT / "action_plugins").glob("preflight*.py")),
]
MAKERS = {"Check", "_check", "_settled", "_verdict", "crashed", "guarded"}
ID = re.compile(r"host|[a-z][a-z0-9_]*(\.[a-z0-9_*]+)+")


def ids_of(source: str) -> Iterator[str]:
    """First words of what makes checks, `check_id = …`, keys of dicts of checks; what is computed in them is a star."""
    for node in ast.walk(ast.parse(source)):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            found = list(node.args[:1])
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            found = [node.value] if name == "check_id" else []
            if name.endswith("_CHECKS") and isinstance(node.value, ast.Dict):
                found = list(node.value.keys)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "_JUDGES":
            found = [one.elts[0] for one in ast.walk(node) if isinstance(one, ast.Tuple) and len(one.elts) == 3]
        for one in found:
            text = text_of(one)
            if text and ID.fullmatch(text):
                yield text


def text_of(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return ""


def in_code() -> set[str]:
    return {name for path in SOURCES for name in ids_of(path.read_text())}


def in_page(page: str) -> set[str]:
    """What stands in backquotes in the second column of the tables about checks."""
    found = set()
    for table in re.split(r"\n\n", page):
        rows = [re.split(r"(?<!\\)\|", line) for line in table.splitlines() if line.startswith("|")]
        if rows and rows[0][2].strip() == "check id":
            found |= {name for row in rows[2:] for name in re.findall(r"`([^`]+)`", row[2])}
    return found


def covers(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), name) is not None


def differences(code: set[str], page: set[str]) -> tuple[set[str], set[str]]:
    """Ids without an explanation, and explanations without a check."""
    lacking = {name for name in code if not any(covers(one, name) for one in page)}
    stale = {one for one in page if not any(covers(one, name) or covers(name, one) for name in code)}
    return lacking, stale


def test_every_id_is_explained_and_every_explanation_has_its_check() -> None:
    code, page = in_code(), in_page((ROOT / "docs/troubleshooting.md").read_text())
    assert len(code) > 50 and {"dpkg.audit", "kernels.*", "network.*", "node.lock", "host", "serve.*"} <= code
    assert differences(code, page) == (set(), set())


def test_the_comparison_sees_both() -> None:
    code = set(ids_of('Check("a.b", "t"); Check(f"kernels.{x}", "t"); check_id = f"c.{y}"; Check(other, "t")'))
    assert code == {"a.b", "kernels.*", "c.*"}
    page = in_page(
        "| symptom | check id | remedy |\n|---|---|---|\n| x | `a.b`, `old.id` | `not.this` |\n| y | `c.*` | z |\n"
    )
    assert differences(code, page) == ({"kernels.*"}, {"old.id"})
