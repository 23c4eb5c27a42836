"""Whether an interpreter can carry the environment: the distribution's own Python, with venv and headers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from .. import process
from .model import TorchEnvError, Wanted

_SECONDS = 60
_ASK = """
import importlib.util, json, os, platform, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2], "implementation": sys.implementation.name,
    "prefix": sys.prefix, "base": sys.base_prefix, "machine": platform.machine(),
    "conda": os.path.isdir(os.path.join(sys.base_prefix, "conda-meta")) or "conda" in sys.version.lower(),
    "ensurepip": importlib.util.find_spec("ensurepip") is not None,
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""
_OWN = "Use the distribution's own, /usr/bin/python3."


class Python(NamedTuple):
    """An interpreter that may be used: its version as `3.11`, and the packages it lacks."""

    minor: str
    missing: list[str]


def probe(asked: Wanted) -> Python:
    """Ask the interpreter what it is. Raises TorchEnvError for conda's and every other one not the distribution's."""
    python = asked.python
    if not Path(python).exists():
        raise TorchEnvError(f"pytorch_python: {python} does not exist. Install python3, or name the interpreter.")
    known = _ask(python)
    if known["conda"]:
        raise TorchEnvError(
            f"pytorch_python: {python} is conda's (prefix {known['base']}). Its libstdc++ and OpenMP come before "
            f"ROCm's, and torch dies of it in ways that look like a broken card. {_OWN}"
        )
    if known["prefix"] != known["base"]:
        raise TorchEnvError(f"pytorch_python: {python} is that of the virtual environment {known['prefix']}. {_OWN}")
    if known["implementation"] != "cpython" or known["machine"] != "x86_64":
        what = f"{known['implementation']} on {known['machine']}"
        raise TorchEnvError(f"pytorch_python: {python} is {what}; ROCm's wheels are for cpython on x86_64. {_OWN}")
    if not _packaged(asked.interpreter):
        raise TorchEnvError(
            f"pytorch_python: {python} ({asked.interpreter}) belongs to no package of this distribution: nobody "
            f"updates it, and it may lack what ROCm's libraries expect. {_OWN}"
        )
    return Python(known["version"], _missing(asked, known))


def _ask(python: str) -> dict[str, Any]:
    try:
        done = process.run([python, "-I", "-c", _ASK], timeout=_SECONDS)
        if done.code == 0:
            answer: dict[str, Any] = json.loads(done.output)
            return answer
        words = " ".join(done.errors.decode("utf-8", "replace").split())[-300:] or f"exit code {done.code}"
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        words = str(error)
    raise TorchEnvError(f"pytorch_python: {python} does not answer as a Python 3 does: {words}. {_OWN}")


def _packaged(path: str) -> bool:
    """Whether dpkg owns the file, under its own path or the one it had before /usr was merged."""
    names = [path, path[len("/usr") :]] if path.startswith("/usr/bin/") else [path]
    try:
        return any(process.run(["dpkg-query", "-S", name], timeout=_SECONDS).code == 0 for name in names)
    except (OSError, subprocess.TimeoutExpired):
        return False


def _missing(asked: Wanted, known: dict[str, Any]) -> list[str]:
    """Packages that a venv, and triton's own compiling at run time, need."""
    name = Path(asked.python).name
    # python3-venv stands for the default interpreter alone.
    stem = "python3" if name == "python3" else f"python{known['version']}"
    lacking = {f"{stem}-venv": not known["ensurepip"], f"{stem}-dev": not known["headers"]}
    if asked.triton:
        lacking["gcc"] = not any(map(shutil.which, ("cc", "gcc", "clang")))
    return [package for package, is_missing in lacking.items() if is_missing]


def require(found: Python) -> None:
    """Raise TorchEnvError naming the packages that are missing."""
    if found.missing:
        raise TorchEnvError(
            f"missing on this node: {', '.join(found.missing)}. The environment needs venv, and triton compiles "
            f"against Python's headers when it runs. apt-get install {' '.join(found.missing)}, or let the role do it "
            "(pytorch_install_packages: true)."
        )
