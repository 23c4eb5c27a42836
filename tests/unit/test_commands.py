"""Every command in README and docs runs in a test, or the list says why not; what commands name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mi50.preflight.known import SHARED, role_variables

from tests.commands import HAND, HARDWARE, PROOFS, SHOWN

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
TOOLS = r"script/\w+|ansible(?:-playbook)? |python3? -m |git clone |mi50-(?:compute|fand)\b|sudo |curl |export \w+="
COMMAND = re.compile(rf"(?:\$ )?((?:{TOOLS}).*)")
PLAYBOOK = re.compile(r"\b((?:playbooks/\w+|site)\.yml)\b")
VARIABLE = re.compile(r"-e ['\"]?\{?['\"]?([a-z]\w+)['\"]?\s*[=:]")


def parts(line: str) -> list[str]:
    """The commands of a line, without its comment."""
    line = re.sub(r"\s+#\s.*$|\s{3,}\S.*$", "", line.strip())
    return [part.strip() for part in line.split(" && ")]


def commands(page: Path) -> list[str]:
    """Commands of a page: those in fenced blocks of shell, and those in the text that have arguments."""
    text = page.read_text(encoding="utf-8")
    found = []
    for kind, body in FENCE.findall(text):
        lines = body.replace("\\\n", " ").splitlines() if kind in ("sh", "bash", "console", "") else []
        found += [match[1] for line in lines for part in parts(line) if (match := COMMAND.fullmatch(part))]
    for span in SPAN.findall(FENCE.sub("", text)):
        found += [match[1] for part in parts(span) if (match := COMMAND.fullmatch(part)) and " " in match[1]]
    return list(dict.fromkeys(found))


def proof(command: str) -> object:
    return next((one for one in PROOFS if re.match(one.pattern, command)), None)


ALL = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands(page)]


def test_commands_are_found() -> None:
    """Were the search broken, nothing below would fail."""
    assert ("README.md", "script/site") in ALL
    assert len(ALL) > 40


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_command_is_proven_or_marked(page: str) -> None:
    assert [command for where, command in ALL if where == page and proof(command) is None] == []


@pytest.mark.parametrize("one", PROOFS, ids=[one.pattern for one in PROOFS])
def test_the_proof_is_there(one: object) -> None:
    pattern, where, says = one  # type: ignore[misc]
    assert any(proof(command) is one for _page, command in ALL), f"no document gives such a command: {pattern}"
    if where in (HAND, HARDWARE, SHOWN):
        assert len(says) > 10, "say why"
        return
    path = ROOT / where
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in (".py", ".yml"))
    assert any(says in file.read_text(encoding="utf-8") for file in files), f"{where} does not say {says!r}"


@pytest.mark.parametrize("page", sorted({page for page, _command in ALL}))
def test_what_commands_name_exists(page: str) -> None:
    known = {*SHARED, *role_variables(ROOT / "roles")}
    wrong = []
    for _page, command in (one for one in ALL if one[0] == page):
        wrong += [name for name in PLAYBOOK.findall(command) if not (ROOT / name).is_file()]
        wrong += [name for name in re.findall(r"^(script/\w+)", command) if not (ROOT / name).is_file()]
        wrong += [name for name in VARIABLE.findall(command) if "ansible-playbook" in command and name not in known]
    assert wrong == []
