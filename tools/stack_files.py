"""Check every stack file and lock file against its schema: `python -m tools.stack_files`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[1]


def problems(root: Path = ROOT) -> list[str]:
    """One line a violation: file, place, reason. No stack at all is a problem too."""
    folder = root / "stacks"
    schema_file = folder / "schema.json"
    if not schema_file.is_file():
        return ["stacks/schema.json is missing"]
    validator = jsonschema.Draft202012Validator(json.loads(schema_file.read_text(encoding="utf-8")))
    found = []
    # A lock holds only what a stack left null; whoever merges it into the stack checks the result.
    stacks = [path for path in sorted(folder.glob("*.yml")) if not path.name.endswith(".lock.yml")]
    for path in stacks:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for error in validator.iter_errors(document):
            place = "/".join(str(part) for part in error.absolute_path) or "top level"
            found.append(f"stacks/{path.name}: {place}: {error.message}")
        if isinstance(document, dict) and document.get("name") != path.stem:
            found.append(f"stacks/{path.name}: name is {document.get('name')!r}, the file says {path.stem!r}")
    return found or ([] if stacks else ["stacks/ holds no stack"])


def main() -> int:
    """Print the problems; 1 when there are any."""
    found = problems()
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
