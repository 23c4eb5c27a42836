"""Stage lint: formatters, linters, type checks, generated documents, syntax of the playbooks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import stack_files
from tools.testsuite.steps import ROOT, Stage, tool

# What mypy --strict checks: logic that runs on nodes, the fan daemon, the compute proof, the tools, the lab.
TYPED = (
    "module_utils/mi50",
    "roles/fan_control/files/mi50_fand",
    "compute/mi50_compute",
    "benchreport",
    "tools",
    "lab",
)
SHELL_SHEBANG = re.compile(rb"^#!\s*/(?:usr/)?bin/(?:env )?(?:ba|da)?sh\b")


def tracked_files(root: Path = ROOT) -> list[Path]:
    """Files of the checkout that git knows or would add."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout.decode()
    return sorted(path for name in listing.split("\0") if name and (path := root / name).is_file())


def is_shell(path: Path) -> bool:
    """Whether the first line says that sh or bash runs the file."""
    with path.open("rb") as stream:
        return bool(SHELL_SHEBANG.match(stream.readline(200)))


def plain_shell(template: str) -> str:
    """A shell template with its Jinja expressions replaced by words, so that shellcheck can read it."""
    without_comments = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    without_blocks = re.sub(r"^[ \t]*\{%.*?%\}[ \t]*$", "", without_comments, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "value", without_blocks, flags=re.DOTALL)


def typed_targets() -> list[str]:
    """The folders of TYPED that hold Python."""
    return [name for name in TYPED if any((ROOT / name).rglob("*.py"))]


def playbooks() -> list[Path]:
    """Every playbook, the entry point first."""
    return [ROOT / "site.yml", *sorted((ROOT / "playbooks").glob("*.yml"))]


def run(stage: Stage) -> None:
    """Run every linter; each is one step."""
    stage.command("yamllint", [tool("yamllint"), "--strict", "."])
    stage.command("ansible-lint", [tool("ansible-lint"), "--offline", "--nocolor", "-q"])
    stage.command("ruff check", [tool("ruff"), "check", "."])
    stage.command("ruff format", [tool("ruff"), "format", "--check", "."])
    for target in typed_targets():
        stage.command(f"mypy {target}", [tool("mypy"), target])
    shell_files = [path for path in tracked_files() if is_shell(path)]
    plain = [path for path in shell_files if path.suffix != ".j2"]
    if shutil.which("shellcheck"):
        stage.command("shellcheck", ["shellcheck", *plain])
        for path in set(shell_files) - set(plain):
            name = str(path.relative_to(ROOT))
            stage.command(f"shellcheck {name}", ["shellcheck", "-"], stdin=plain_shell(path.read_text()))
    else:
        stage.fail("shellcheck", "shellcheck is not installed: apt-get install shellcheck")
    stage.command("generated documents", [sys.executable, "-m", "tools.role_docs", "--check"])
    stage.check("stack files", stack_files.problems)
    for playbook in playbooks():
        inventory = ROOT / "inventories" / "local"
        stage.command(
            f"syntax {playbook.relative_to(ROOT)}",
            [tool("ansible-playbook"), "-i", inventory, "--syntax-check", playbook],
        )
