"""`mi50-compute [--env NAME|PATH]... [--json] [OPTIONS]`: the proof in every torch environment of this node.

Runs with the system's Python and needs no torch: each environment proves itself in its own. OPTIONS go to the proof;
`mi50-compute --help` shows them. Exit code 0: everything right; 1: something is not; 2: something could not be tried.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE_PARENT = Path(__file__).resolve().parents[1]
FOLDER = Path("/opt/mi50-aipc/venvs")
# The role's shared environment, and its mark in those on top of it.
SHARED, MARK = "torch", ".mi50-env.json"


class Unknown(Exception):
    """No such environment; the text says which there are."""


def known(folder: Path) -> dict[str, Path]:
    """Environments by name, the shared one first."""
    found = {SHARED: folder / SHARED} if (folder / SHARED / "bin/python").exists() else {}
    return {**found, **{mark.parent.name: mark.parent for mark in sorted(folder.glob(f"*/{MARK}"))}}


def chosen(names: list[str], folder: Path) -> dict[str, Path]:
    """The environments to prove: those named, by name or path, or all. Raises Unknown."""
    have = known(folder)
    if not names:
        if not have:
            raise Unknown(f"there is no environment in {folder}: run the role pytorch, or name one with --env PATH")
        return have
    found = {}
    for name in names:
        path = Path(name) if "/" in name else folder / name
        if not (path / "bin/python").exists():
            raise Unknown(f"--env {name}: there is no environment; known in {folder}: {', '.join(have) or 'none'}")
        found[name] = path
    return found


def prove(path: Path, options: list[str], *, capture: bool) -> tuple[int, str]:
    """Run the proof with an environment's own Python; return its exit code, and its JSON when it is captured."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    done = subprocess.run(
        [str(path / "bin/python"), "-m", "mi50_compute", *(["--json"] if capture else []), *options],
        env={**environment, "PYTHONPATH": str(PACKAGE_PARENT)},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout or ""


def split(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    """Our own options and the proof's: names of environments, whether JSON is wanted, the rest as it stands."""
    names, rest, as_json = [], [], False
    words = iter(argv)
    for word in words:
        if word == "--env":
            names.append(next(words, ""))
        elif word.startswith("--env="):
            names.append(word[len("--env=") :])
        elif word == "--json":
            as_json = True
        else:
            rest.append(word)
    return names, as_json, rest


def main(argv: list[str]) -> int:
    """Prove each environment; print a table each, or one JSON object."""
    names, as_json, rest = split(argv)
    if {"-h", "--help"} & set(rest):
        print(__doc__)
    folder = Path(os.environ.get("MI50_VENVS") or FOLDER)
    try:
        wanted = chosen(names, folder)
    except Unknown as error:
        print(f"mi50-compute: {error}", file=sys.stderr)
        return 2
    if {"-h", "--help", "--list"} & set(rest):
        return prove(next(iter(wanted.values())), rest, capture=False)[0]
    codes, found = [], {}
    for name, path in wanted.items():
        print(f"== {name}: {path.resolve()}", file=sys.stderr if as_json else sys.stdout, flush=True)
        code, text = prove(path, rest, capture=as_json)
        codes.append(code)
        found[name] = {"path": str(path.resolve()), "exit_code": code, **_parsed(text)}
    if as_json:
        print(json.dumps({"ok": not any(codes), "environments": found}, indent=2))
    # A wrong result counts more than one that could not be tried.
    return 1 if any(code not in (0, 2) for code in codes) else max(codes)


def _parsed(text: str) -> dict[str, Any]:
    try:
        outcome: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"ok": False}
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
