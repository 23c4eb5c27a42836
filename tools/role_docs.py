"""Keep role READMEs, argument specs and defaults in step, and the table of modules in docs/architecture.md.

    python -m tools.role_docs            rewrite the generated tables
    python -m tools.role_docs --check    change nothing; print the problems and a diff, and exit 1

`defaults/main.yml` is where a default lives, `meta/argument_specs.yml` says what the variable means. A literal default
stands in both and must be equal. A templated one (it reads shared settings) stands in defaults alone: Ansible would
check the template's text against the type.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
MARKERS = re.compile(r"(<!-- (?P<name>[a-z]+):begin[^>]*-->\n).*?(<!-- (?P=name):end[^>]*-->)", re.DOTALL)
# Markup of Ansible descriptions: V(value), O(option), C(code), E(ENVIRONMENT), RV(return), M(module), P(plugin#type).
MARKUP = re.compile(r"\b(?:V|O|C|E|RV|M|P)\(([^()]*)\)")
ABSENT = object()

Options = Mapping[str, Any]


class DocsError(Exception):
    """A file that the generator cannot work with; says which and why."""


def load(path: Path) -> Any:  # noqa: ANN401 - YAML holds anything
    """Content of a YAML file; an empty one is an empty mapping."""
    if not path.is_file():
        raise DocsError(f"{path}: missing")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DocsError(f"{path}: {error}") from error
    return {} if content is None else content


def is_template(value: object) -> bool:
    """Whether a default is computed by Ansible, at any depth."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(map(is_template, value.values()))
    return isinstance(value, list) and any(map(is_template, value))


def role_options(role: Path) -> Options:
    """Options of the role's `main` entry point."""
    specs = load(role / "meta" / "argument_specs.yml")
    try:
        return specs["argument_specs"]["main"].get("options") or {}
    except (KeyError, TypeError) as error:
        raise DocsError(f"{role / 'meta/argument_specs.yml'}: no argument_specs.main") from error


def default_problem(option: Mapping[str, Any], default: object) -> str | None:
    """How the default of one variable and its specification disagree; `default` is ABSENT when there is none."""
    specified = option.get("default", ABSENT)
    if default is ABSENT:
        return None if option.get("required") else "is in argument_specs, not in defaults, and not required"
    if option.get("required"):
        return "is required, yet has a default"
    if is_template(default):
        return None if specified is ABSENT else "is templated in defaults, so argument_specs must not give a default"
    if default is None and specified is ABSENT:
        return None
    if specified is ABSENT:
        return f"default {default!r} is missing from argument_specs"
    # The type as well: 1, 1.0 and true are equal in Python, not in YAML.
    same = type(specified) is type(default) and specified == default
    return None if same else f"default is {default!r}, argument_specs says {specified!r}"


def variable_problems(name: str, option: Mapping[str, Any], default: object) -> list[str]:
    """What is wrong with one variable."""
    found = [f"has no {key} in argument_specs" for key in ("description", "type") if not option.get(key)]
    problem = default_problem(option, default)
    return [f"{name} {text}" for text in [*found, *([problem] if problem else [])]]


def role_problems(role: Path) -> list[str]:
    """Everything in which a role's defaults and argument specs disagree."""
    defaults: Mapping[str, Any] = load(role / "defaults" / "main.yml")
    options = role_options(role)
    found = [
        f"{name} is not named {role.name}_…" for name in [*defaults, *options] if not name.startswith(f"{role.name}_")
    ]
    found += [f"{name} is in defaults, not in argument_specs" for name in defaults if name not in options]
    for name, option in options.items():
        found += variable_problems(name, option or {}, defaults.get(name, ABSENT))
    return [f"roles/{role.name}: {problem}" for problem in dict.fromkeys(found)]


def prose(description: object) -> str:
    """A description as one Markdown table cell."""
    words = description if isinstance(description, list) else [description]
    text = " ".join(" ".join(str(word).split()) for word in words if word)
    return MARKUP.sub(lambda match: f"`{match[1]}`", text).replace("|", "\\|")


def value_cell(default: object, *, required: bool = False) -> str:
    """A default as one Markdown table cell."""
    if default is ABSENT:
        return "required" if required else ""
    text = default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def type_cell(option: Mapping[str, Any]) -> str:
    """Type, element type and choices of an option as one cell."""
    kind = str(option.get("type", "str"))
    if option.get("elements"):
        kind += f" of {option['elements']}"
    if option.get("choices"):
        kind += ": " + ", ".join(value_cell(choice) for choice in option["choices"])
    return kind


def variables_table(role: Path) -> str:
    """The table of a role's variables."""
    defaults: Mapping[str, Any] = load(role / "defaults" / "main.yml")
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in role_options(role).items():
        default = value_cell(defaults.get(name, ABSENT), required=bool(option.get("required")))
        lines.append(f"| `{name}` | {type_cell(option)} | {default} | {prose(option.get('description'))} |")
    return "\n".join(lines) + "\n"


def plugin_documentation(path: Path) -> Mapping[str, Any]:
    """The DOCUMENTATION of a plugin, read without importing it; an action plugin keeps it in a .yml file."""
    if path.suffix == ".yml":
        sidecar: Mapping[str, Any] = load(path)["DOCUMENTATION"]
        return sidecar
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
            continue
        if any(isinstance(target, ast.Name) and target.id == "DOCUMENTATION" for target in node.targets):
            documentation: Mapping[str, Any] = yaml.safe_load(str(node.value.value))
            return documentation
    raise DocsError(f"{path}: no DOCUMENTATION")


def modules_table(root: Path) -> str:
    """The table of the repository's modules."""
    lines = ["| module | does | state |", "|---|---|---|"]
    for path in sorted(path for pattern in ("*.py", "*.yml") for path in (root / "library").glob(pattern)):
        documentation = plugin_documentation(path)
        diff = documentation.get("attributes", {}).get("diff_mode", {}).get("support")
        changes = "reads only" if diff == "none" else "check mode, diff"
        lines.append(f"| `{path.stem}` | {prose(documentation['short_description'])} | {changes} |")
    return "\n".join(lines) + "\n"


def replace_table(path: Path, name: str, table: str) -> str:
    """Text of a file with the table between its markers replaced."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = [match for match in MARKERS.finditer(text) if match["name"] == name]
    if len(found) != 1:
        markers = f"<!-- {name}:begin --> and <!-- {name}:end -->"
        raise DocsError(f"{path}: needs the lines {markers} once, has them {len(found)} times")
    match = found[0]
    return text[: match.start()] + match[1] + table + match[3] + text[match.end() :]


def generated(root: Path) -> tuple[dict[Path, str], list[str]]:
    """Wanted text of each generated file, and the problems that no generator can mend."""
    wanted: dict[Path, str] = {}
    found: list[str] = []
    for role in sorted(path for path in (root / "roles").iterdir() if path.is_dir()):
        try:
            found += role_problems(role)
            wanted[role / "README.md"] = replace_table(role / "README.md", "variables", variables_table(role))
        except DocsError as error:
            found.append(str(error))
    architecture = root / "docs" / "architecture.md"
    try:
        wanted[architecture] = replace_table(architecture, "modules", modules_table(root))
    except DocsError as error:
        found.append(str(error))
    return wanted, found


def difference(path: Path, wanted: str, root: Path) -> str:
    """Unified diff from the file to what it should be."""
    name = str(path.relative_to(root))
    have = path.read_text(encoding="utf-8")
    return "".join(difflib.unified_diff(have.splitlines(True), wanted.splitlines(True), name, f"{name} (generated)"))


def run(root: Path, *, check: bool) -> int:
    """Write or check the generated tables; 1 when something is wrong."""
    wanted, found = generated(root)
    for path, text in wanted.items():
        if text == path.read_text(encoding="utf-8"):
            continue
        if check:
            print(difference(path, text, root))
            found.append(f"{path.relative_to(root)} is out of date: python -m tools.role_docs")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"rewrote {path.relative_to(root)}")
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


def main(argv: list[str] | None = None) -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when something is out of step")
    return run(ROOT, check=parser.parse_args(argv).check)


if __name__ == "__main__":
    sys.exit(main())
