"""Import every module under the first directory and compile every file under the others.

Runs under the oldest Python of a node (3.9), so it uses nothing newer and nothing outside the standard library.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path


def module_names(directory: Path) -> list[str]:
    """Dotted names of all modules of the packages in a directory."""
    names = []
    for path in sorted(directory.rglob("*.py")):
        parts = list(path.relative_to(directory).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        names.append(".".join(parts))
    return names


def main(argv: list[str]) -> int:
    """Return 1 when a module cannot be imported or a file cannot be compiled, or when there is none at all."""
    packages, *others = map(Path, argv)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(packages))
    failed = 0
    names = module_names(packages)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # whatever it is, it is the finding
            failed += 1
            print(f"{name}:\n{traceback.format_exc()}")
    for directory in others:
        for path in sorted(directory.glob("*.py")):
            try:
                compile(path.read_bytes(), str(path), "exec")
            except SyntaxError as error:
                failed += 1
                print(f"{path}: {error}")
    print(f"{len(names)} modules, {failed} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
